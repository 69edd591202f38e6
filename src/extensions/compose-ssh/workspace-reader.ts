/** A workspace on its host on its way into a snapshot: all of it, or what changed since another one. */
import { LIMITS } from '../../domain/limits.ts';
import { eachDone, release } from '../../domain/streams.ts';
import type { HostProcess } from '../../ports/host-link.ts';
import type { CaptureRequest } from '../../ports/snapshot.ts';
import type { HostClient, Place } from './client.ts';
import { tarError, wordsOf } from './workspace.ts';
import { READ_WORKSPACE } from './workspace-script.ts';

const NEWLINE = 0x0a;
/** Some files changed while they were read: of a sandbox that runs on, nothing else can be expected. */
const FILES_CHANGED = 1;

/** What a tar stream ends with, at least. */
const TAR_END_BYTES = 1_024;

/** A copy of the last bytes of what was read before, and then `piece`. */
function endOf(before: Buffer, piece: Buffer): Buffer {
  return Buffer.concat([before, piece.subarray(-TAR_END_BYTES)]).subarray(-TAR_END_BYTES);
}

function isTarEnd(end: Buffer): boolean {
  return end.length === TAR_END_BYTES && end.every((byte) => byte === 0);
}

export class WorkspaceReader {
  readonly #process: HostProcess;
  readonly #said: () => string;
  readonly #chunks: AsyncIterator<Buffer>;
  #chunk: Buffer = Buffer.alloc(0);
  #isReady = false;
  #isRead = false;

  constructor(process: HostProcess) {
    this.#process = process;
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

  /**
   * A tar stream, once it has begun; each piece until the next is asked for. Whether it is complete is known once `end` resolves, if
   * not before.
   */
  content(): AsyncGenerator<Uint8Array> {
    return eachDone(this.#pieces(), release);
  }

  async *#pieces(): AsyncGenerator<Uint8Array> {
    let end: Buffer = Buffer.alloc(0);
    try {
      for (let piece = this.#chunk; ; ) {
        if (piece.length > 0) {
          end = endOf(end, piece);
          yield piece;
        }
        const { done, value } = await this.#chunks.next();
        if (done) break;
        piece = value;
      }
      this.#isRead = true;
      if (!isTarEnd(end)) await this.end();
    } finally {
      if (!this.#isRead) this.stop();
    }
  }

  /** What the host still has to do, if all was read. Rejects when that was not complete. Safe to repeat. */
  async end(): Promise<void> {
    if (!this.#isRead) return this.stop();
    const exitCode = await this.#process.exit;
    if (exitCode > FILES_CHANGED) throw this.#error(exitCode);
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
  const words = [client.host.base_directory, key, snapshotId, baseId ?? '', names];
  return new WorkspaceReader(
    await client.link.start({ command: ['sh', '-c', READ_WORKSPACE, 'sh', ...words], signal }),
  );
}
