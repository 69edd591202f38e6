/**
 * A sandbox's workspace, out of and into its directory on this machine, by `tar` in a process of its own: it goes from
 * directory to directory by descriptors and follows no link, whatever the sandbox does meanwhile.
 */
import { type ChildProcessByStdio, execFile, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { eachDone, release } from '../../domain/streams.ts';
import { printable } from '../../domain/text.ts';
import { ExtensionError, type Reference } from '../../ports/extension.ts';
import type {
  Capture,
  CaptureRequest,
  RestoredPart,
  RestoreSource,
  Snapshots,
} from '../../ports/snapshot.ts';
import type { Boxes } from './client.ts';
import type { Layers } from './layers.ts';

const run = promisify(execFile);
const WORDS_MAX = 300;
/** Some files changed while they were read: of a sandbox that runs on, nothing else can be expected. */
const FILES_CHANGED = 1;

interface Tar<Input extends Writable | null, Output extends Readable | null> {
  readonly child: ChildProcessByStdio<Input, Output, Readable>;
  /** Rejects unless it did what it was asked. */
  readonly ended: Promise<void>;
}

function tarError(code: number | null, said: string): ExtensionError {
  const words = printable(said.trim().split('\n').slice(-3).join(' / ').slice(-WORDS_MAX));
  const kind = /no space left|quota exceeded/i.test(said) ? 'capacity' : 'invalid';
  return new ExtensionError(kind, `tar ended with ${code}: ${words || 'no reason was given'}.`);
}

function watch<Input extends Writable | null, Output extends Readable | null>(
  child: ChildProcessByStdio<Input, Output, Readable>,
  worst: number,
): Tar<Input, Output> {
  let said = '';
  child.stderr.on('data', (data: Buffer) => {
    said = (said + data.toString('utf8')).slice(-4 * WORDS_MAX);
  });
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', (cause) =>
      reject(new ExtensionError('unsupported', 'This machine has no tar that can be started.', { cause })),
    );
    child.once('close', (code) =>
      code !== null && code <= worst ? resolve() : reject(tarError(code, said)),
    );
  });
  ended.catch(() => undefined); // told by whoever awaits it
  return { child, ended };
}

async function* packed(directory: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const words = ['--create', '--one-file-system', '--file=-', `--directory=${directory}`, '.'];
  const environment = { ...process.env, LC_ALL: 'C' };
  const { child, ended } = watch(
    spawn('tar', words, { stdio: ['ignore', 'pipe', 'pipe'], env: environment, signal }),
    FILES_CHANGED,
  );
  try {
    yield* eachDone(child.stdout as AsyncIterable<Buffer>, release);
    await ended;
  } finally {
    child.kill('SIGKILL');
  }
}

async function unpack(directory: string, { open, reuse }: RestoredPart, signal: AbortSignal): Promise<void> {
  const words = [
    '--extract',
    '--no-same-owner',
    '--same-permissions',
    '--file=-',
    `--directory=${directory}`,
  ];
  const environment = { ...process.env, LC_ALL: 'C' };
  const { child, ended } = watch(
    spawn('tar', words, { stdio: ['pipe', 'ignore', 'pipe'], env: environment }),
    0,
  );
  const [fed, done] = await Promise.allSettled([
    /* A stream that was given a whole piece asks for the next one when it has passed all of it on. */
    pipeline(eachDone(open(''), reuse), child.stdin, { signal }),
    ended,
  ]);
  const brokePipe =
    fed.status === 'rejected' && ['EPIPE', 'ERR_STREAM_PREMATURE_CLOSE'].includes(String(fed.reason?.code));
  if (fed.status === 'rejected' && !(brokePipe && done.status === 'rejected')) throw fed.reason;
  if (done.status === 'rejected') throw done.reason;
}

/** Fills a workspace of which nothing runs yet. Everything becomes `ownerId`'s, or stays ours where that is null. */
export async function restoreWorkspace(
  directory: string,
  source: RestoreSource,
  ownerId: number | null,
  signal: AbortSignal,
): Promise<void> {
  for await (const restored of source.read(signal)) {
    if (restored.part.kind !== 'workspace')
      throw new ExtensionError('unsupported', 'ext.local has no volumes.');
    await unpack(directory, restored, signal);
  }
  if (ownerId === null) return;
  await run('chown', ['--recursive', '--no-dereference', `${ownerId}:${ownerId}`, '--', directory], {
    signal,
  });
}

export class LocalSnapshots implements Snapshots {
  readonly kinds = ['workspace'] as const;
  readonly #boxes: Boxes;
  readonly #layers: Layers;

  constructor(boxes: Boxes, layers: Layers) {
    this.#boxes = boxes;
    this.#layers = layers;
  }

  async capture({ name }: Reference, _request: CaptureRequest, signal: AbortSignal): Promise<Capture> {
    signal.throwIfAborted();
    const first = this.#boxes.exists(name) ? this.#boxes.process(name) : null;
    if (first === null) throw new ExtensionError('transient', 'The sandbox does not run.');
    /* What lies over shared content is whole only as the sandbox sees it. The core looks afterwards whether it still runs. */
    const isLayered = (this.#boxes.read(name)?.layer ?? null) !== null;
    const directory = isLayered ? `/proc/${first}/root/workspace` : join(this.#boxes.path(name), 'workspace');
    return {
      engine: 'namespaces',
      services: [],
      parts: [{ part: { kind: 'workspace' }, open: async (stop) => packed(directory, stop) }],
      notCaptured: ['the home directory and everything else outside of /workspace'],
    };
  }

  tidy(isKept: (snapshotId: string) => Promise<boolean>): Promise<void> {
    const isUsed = (id: string) => this.#boxes.names().some((name) => this.#boxes.read(name)?.layer === id);
    return this.#layers.tidy(async (id) => (await isKept(id)) || isUsed(id));
  }
}
