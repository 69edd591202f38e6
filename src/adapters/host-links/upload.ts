/** Copying a tree to a host. Nothing at the target is removed, so an interrupted copy can be repeated. */
import { pipeline } from 'node:stream/promises';
import type { Host } from '../../domain/host/host.ts';
import { asSentence, printable } from '../../domain/text.ts';
import { type Clock, timeoutSignal } from '../../ports/clock.ts';
import { ExtensionError } from '../../ports/extension.ts';
import type { HostCommand, HostLink, HostProcess } from '../../ports/host-link.ts';
import {
  calledOff,
  collect,
  type Ended,
  type Environment,
  onAbort,
  type Spawned,
  signalGroup,
  spawnPiped,
} from './process.ts';
import { quoteWord } from './quote.ts';
import { lastLine } from './ssh-errors.ts';
import { copyList } from './tree.ts';

const COMPLAINT_BYTES_MAX = 64 * 1024;

export type Tree = Parameters<HostLink['upload']>[0];

/** How rsync reaches the host: the words that stand where it would call `ssh`, null for this machine. */
export interface RsyncShell {
  readonly words: readonly string[] | null;
  release(): void;
}

interface Ends {
  readonly host: Host;
  readonly environment: Environment;
  readonly clock: Clock;
  readonly link: Pick<HostLink, 'run' | 'start'>;
  /** Null when the host has no rsync. */
  rsyncShell(signal: AbortSignal): Promise<RsyncShell | null>;
}

interface Upload {
  readonly from: string;
  readonly to: string;
  /** From `copyList`. */
  readonly list: Buffer;
  readonly hostName: string;
  readonly environment: Environment;
  readonly signal: AbortSignal;
}

/** What went wrong, from what the programs of either side said. */
function uploadError({ hostName, to }: Upload, said: string): ExtensionError {
  if (/No space left|Disk quota exceeded/i.test(said))
    return new ExtensionError('capacity', `Host ${hostName} has no space left for ${to}.`);
  if (/Permission denied|Read-only file system|Operation not permitted/i.test(said))
    return new ExtensionError(
      'invalid',
      `The copy to ${to} on host ${hostName} was refused: ${asSentence(lastLine(said))}`,
    );
  const why = lastLine(said);
  return new ExtensionError(
    'transient',
    `The copy to ${to} on host ${hostName} was interrupted${why === '' ? '.' : `: ${asSentence(why)}`}`,
  );
}

interface LocalProgram extends Spawned {
  readonly complaint: Promise<Buffer>;
  /** Its end, or a kill by the signal. */
  readonly over: Promise<Ended>;
}

function startHere(program: string, words: readonly string[], upload: Upload): LocalProgram {
  const spawned = spawnPiped(program, words, { environment: { ...upload.environment, LC_ALL: 'C' } });
  const complaint = collect(spawned.child.stderr, COMPLAINT_BYTES_MAX, () => undefined);
  const stop = onAbort(upload.signal, () => signalGroup(spawned.child.pid, 'SIGKILL'));
  return { ...spawned, complaint, over: spawned.ended.finally(stop) };
}

/** `remoteShell`: the words that stand where rsync would call `ssh`; null copies on this machine. */
async function uploadByRsync(upload: Upload, remoteShell: readonly string[] | null): Promise<void> {
  const target = upload.to.endsWith('/') ? upload.to : `${upload.to}/`;
  const words = [
    ...['-lptd', '--files-from=-', '--from0', '-s'],
    ...(remoteShell === null ? [] : ['-e', remoteShell.map(quoteForRsync).join(' ')]),
    '--',
    upload.from.endsWith('/') ? upload.from : `${upload.from}/`,
    remoteShell === null ? target : `host:${target}`,
  ];
  const rsync = startHere('rsync', words, upload);
  rsync.child.stdout.resume();
  rsync.child.stdin.end(upload.list);
  const { code } = await rsync.over;
  if (code !== 0) throw uploadError(upload, (await rsync.complaint).toString('utf8'));
}

/** rsync splits `-e` at spaces and knows quotes, but no backslashes. */
function quoteForRsync(word: string): string {
  return word === quoteWord(word) ? word : `'${word.replaceAll("'", "''")}'`;
}

/** Packs here and unpacks there; `start` runs a command on the host. */
async function uploadByTar(
  upload: Upload,
  start: (command: HostCommand) => Promise<HostProcess>,
): Promise<void> {
  const unpacking = await start({
    command: ['tar', '-x', '-p', '-o', '-f', '-', '-C', upload.to],
    // busybox leaves out links that point elsewhere unless told; they are only links, nothing is written through them.
    environment: { EXTRACT_UNSAFE_SYMLINKS: '1', LC_ALL: 'C' },
    signal: upload.signal,
  });
  unpacking.stdout.resume();
  const remoteComplaint = collect(unpacking.stderr, COMPLAINT_BYTES_MAX, () => undefined);
  const packing = startHere(
    'tar',
    ['-c', '-f', '-', '-C', upload.from, '--null', '--no-recursion', '-T', '-'],
    upload,
  );
  packing.child.stdin.end(upload.list);
  const [piped, packed, unpacked] = await Promise.allSettled([
    pipeline(packing.child.stdout, unpacking.stdin),
    packing.over,
    unpacking.exit,
  ]);
  if (packed.status === 'rejected') throw packed.reason;
  if (unpacked.status === 'rejected') throw unpacked.reason;
  if (unpacked.value !== 0) throw uploadError(upload, (await remoteComplaint).toString('utf8'));
  // It saw the end of the archive and left before the padding after it was written.
  if (piped.status === 'rejected') return;
  // GNU tar's 1: a file changed while it was read; the copy is as good as any taken at that moment.
  if (packed.value.code > 1) throw uploadError(upload, (await packing.complaint).toString('utf8'));
}

/** Whether `rsync --version` said so: another program of that name lacks options that are needed. */
export function isUsableRsync(versionText: string): boolean {
  return /^rsync +version v?[3-9]\./m.test(versionText);
}

async function isRsyncHere(environment: Environment): Promise<boolean> {
  try {
    const { child, ended } = spawnPiped('rsync', ['--version'], { environment });
    const output = collect(child.stdout, COMPLAINT_BYTES_MAX, () => undefined);
    child.stderr.resume();
    await ended;
    return isUsableRsync((await output).toString('utf8'));
  } catch (error) {
    if (error instanceof ExtensionError && error.kind === 'unsupported') return false;
    throw error;
  }
}

async function copy(tree: Tree, signal: AbortSignal, ends: Ends): Promise<void> {
  const { from, to, timeoutMs } = tree;
  const list = await copyList(from, tree.files);
  const { host, environment, link } = ends;
  const upload: Upload = { from, to, list, hostName: host.name, environment, signal };
  const made = await link.run({ command: ['mkdir', '-p', '--', to], timeoutMs, signal });
  if (made.exitCode !== 0) throw uploadError(upload, made.stderr);
  const shell = (await isRsyncHere(environment)) ? await ends.rsyncShell(signal) : null;
  if (shell === null) return uploadByTar(upload, (command) => link.start(command));
  try {
    await uploadByRsync(upload, shell.words);
  } finally {
    shell.release();
  }
}

/**
 * `HostLink.upload` for both kinds of link. Modes and times are kept, owners are not. A link that broke is `transient`
 * here, because the copy can simply be repeated.
 */
export async function uploadTree(tree: Tree, ends: Ends): Promise<void> {
  const { to, timeoutMs } = tree;
  if (!to.startsWith('/') || to.includes('\0'))
    throw new ExtensionError('invalid', 'The target of a copy must be an absolute path.');
  const timeout = timeoutSignal(ends.clock, timeoutMs, tree.signal);
  try {
    await copy(tree, timeout.signal, ends);
  } catch (error) {
    const where = `The copy to ${printable(to, 200)} on host ${ends.host.name}`;
    if (tree.signal.aborted) throw calledOff(tree.signal.reason);
    if (timeout.signal.aborted)
      throw new ExtensionError('transient', `${where} took longer than ${timeoutMs} ms.`, { cause: error });
    if (error instanceof ExtensionError && error.kind === 'ambiguous')
      throw new ExtensionError('transient', `${where} was interrupted.`, { cause: error });
    throw error;
  } finally {
    timeout.done();
  }
}
