/** A workspace on its host on its way into a snapshot: all of it, or what changed since another one. */
import { randomBytes } from 'node:crypto';
import { LIMITS } from '../../domain/limits.ts';
import { eachDone, release } from '../../domain/streams.ts';
import type { HostProcess } from '../../ports/host-link.ts';
import type { CaptureRequest } from '../../ports/snapshot.ts';
import type { HostClient, Place } from './client.ts';
import { untilMark } from './marked-stream.ts';
import { tarError, wordsOf } from './workspace.ts';
import { READ_WORKSPACE } from './workspace-script.ts';

const NEWLINE = 0x0a;
/** Some files changed while they were read: of a sandbox that runs on, nothing else can be expected. */
const FILES_CHANGED = 1;

/** Of the mark after the stream; as hexadecimal digits. */
const MARK_RANDOM_BYTES = 16;

export class WorkspaceReader {
  readonly #process: HostProcess;
  readonly #said: () => string;
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #mark: string;
  #chunk: Buffer = Buffer.alloc(0);
  #isReady = false;
  #isRead = false;

  /** `mark` is what the process says after the stream, with the code of tar. */
  constructor(process: HostProcess, mark: string) {
    this.#process = process;
    this.#mark = mark;
    this.#said = wordsOf(process);
    this.#chunks = (process.stdout as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  }

  /** Resolves when everything must stand still from then on, if it shall. */
  async untilReady(): Promise<void> {
    if (!this.#isReady) await this.#line();
    this.#isReady = true;
  }

  /** Begins to read; whether it is only what changed. */
  async begin(): Promise<boolean> {
    this.#process.stdin.end('\n');
    await this.untilReady();
    return (await this.#line()) === 'changes';
  }

  /** A tar stream, once it has begun; each piece until the next is asked for. Rejects at its end when it is not complete. */
  content(): AsyncGenerator<Uint8Array> {
    return eachDone(this.#pieces(), release);
  }

  async *#pieces(): AsyncGenerator<Uint8Array> {
    try {
      const code = yield* untilMark(this.#rest(), Buffer.from(this.#mark));
      if (code === null || Number(code) > FILES_CHANGED) throw this.#error(await this.#process.exit);
      this.#isRead = true;
    } finally {
      if (!this.#isRead) this.stop();
    }
  }

  async *#rest(): AsyncGenerator<Buffer> {
    if (this.#chunk.length > 0) yield this.#chunk;
    for (let next = await this.#chunks.next(); !next.done; next = await this.#chunks.next()) yield next.value;
  }

  /** Waits for what the host still has to do, if all was read. Safe to repeat. */
  async end(): Promise<void> {
    if (!this.#isRead) return this.stop();
    while (!(await this.#chunks.next()).done);
    await this.#process.exit;
  }

  /** Safe to repeat. */
  stop(): void {
    this.#process.kill();
  }

  #error(exitCode: number): Error {
    return tarError('Reading the workspace', exitCode, this.#said());
  }

  async #line(): Promise<string> {
    for (let end = this.#chunk.indexOf(NEWLINE); ; end = this.#chunk.indexOf(NEWLINE)) {
      if (end !== -1) {
        const line = this.#chunk.toString('utf8', 0, end);
        this.#chunk = this.#chunk.subarray(end + 1);
        return line;
      }
      const { done, value } = await this.#chunks.next();
      if (done) throw this.#error(await this.#process.exit);
      this.#chunk = Buffer.concat([this.#chunk, value]);
    }
  }
}

export async function startReading(
  client: HostClient,
  { key }: Place,
  { snapshotId, baseId }: CaptureRequest,
  signal: AbortSignal,
): Promise<WorkspaceReader> {
  const names = String(LIMITS.snapshotNamesBytes);
  const mark = `\x1e${randomBytes(MARK_RANDOM_BYTES).toString('hex')}`;
  const words = [client.host.base_directory, key, snapshotId, baseId ?? '', names, mark];
  const command = ['sh', '-c', READ_WORKSPACE, 'sh', ...words];
  return new WorkspaceReader(await client.link.start({ command, signal }), mark);
}
