/** The engine's stream of an attached command: eight bytes of header before each piece, none on a terminal. */
import type { Readable } from 'node:stream';
import { type ExecOutput, ExtensionError } from '../../ports/extension.ts';

const HEADER_BYTES = 8;
const STDERR = 2;

export async function* splitFrames(
  stream: Readable,
  isTerminal: boolean,
): AsyncGenerator<ExecOutput, void, undefined> {
  let header = Buffer.alloc(0);
  let remaining = 0;
  let name: ExecOutput['stream'] = 'stdout';
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    if (isTerminal) {
      yield { stream: 'stdout', data: chunk };
      continue;
    }
    let rest = chunk;
    while (rest.length > 0) {
      if (remaining === 0) {
        const missing = HEADER_BYTES - header.length;
        header = Buffer.concat([header, rest.subarray(0, missing)]);
        rest = rest.subarray(missing);
        if (header.length < HEADER_BYTES) break;
        if (header[0]! > STDERR) throw new ExtensionError('bug', 'The engine sent a broken stream.');
        name = header[0] === STDERR ? 'stderr' : 'stdout';
        remaining = header.readUInt32BE(4);
        header = Buffer.alloc(0);
        continue;
      }
      const piece = rest.subarray(0, remaining);
      rest = rest.subarray(piece.length);
      remaining -= piece.length;
      yield { stream: name, data: piece };
    }
  }
}

/** Read ahead and not yet taken, beyond which the reader waits. */
const QUEUE_BYTES_MAX = 1024 * 1024;

/** Between one writer, who waits when too much lies here, and one reader. */
export class OutputQueue implements AsyncIterable<ExecOutput> {
  readonly #items: ExecOutput[] = [];
  #bytes = 0;
  #ending: { readonly error: unknown } | null = null;
  #changed = Promise.withResolvers<void>();

  async push(item: ExecOutput): Promise<void> {
    this.#items.push(item);
    this.#bytes += item.data.length;
    this.#change();
    while (this.#bytes > QUEUE_BYTES_MAX && this.#ending === null) await this.#changed.promise;
  }

  /** What was pushed is still read; then the reader ends, or fails with `error`. */
  end(error: unknown = null): void {
    this.#ending ??= { error };
    this.#change();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ExecOutput, void, undefined> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) {
        this.#bytes -= item.data.length;
        this.#change();
        yield item;
      } else if (this.#ending !== null) {
        if (this.#ending.error !== null) throw this.#ending.error;
        return;
      } else await this.#changed.promise;
    }
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}
