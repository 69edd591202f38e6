import type { CheckedEntry } from '../../domain/snapshot/entry-rules.ts';
import { release } from '../../domain/streams.ts';
import { BLOCK_BYTES, encodeHeader, paddingOf } from './tar-header.ts';
import type { TarReader } from './tar-reader.ts';

const ZEROS = Buffer.alloc(BLOCK_BYTES);
export const TAR_END = Buffer.alloc(2 * BLOCK_BYTES);
const NONE: readonly Buffer[] = [];

/** Gathers bytes, however small, into pieces of one size. */
export class Pieces {
  readonly #bytes: number;
  readonly #free: Buffer[] = [];
  #piece: Buffer;
  #used = 0;

  constructor(pieceBytes: number) {
    this.#bytes = pieceBytes;
    this.#piece = Buffer.allocUnsafeSlow(pieceBytes);
  }

  /** Takes a copy; answers the pieces that become full, which have to be looked through before anything else is put. */
  put(bytes: Uint8Array): Iterable<Buffer> {
    if (this.#used + bytes.length >= this.#bytes) return this.#fill(bytes);
    this.#piece.set(bytes, this.#used);
    this.#used += bytes.length;
    return NONE;
  }

  *#fill(bytes: Uint8Array): Generator<Buffer> {
    for (let rest = bytes; rest.length > 0; ) {
      const fitting = rest.subarray(0, this.#bytes - this.#used);
      this.#piece.set(fitting, this.#used);
      this.#used += fitting.length;
      rest = rest.subarray(fitting.length);
      if (this.#used === this.#bytes) yield this.rest();
    }
  }

  /** What is in no full piece yet. */
  rest(): Buffer {
    const piece = this.#piece.subarray(0, this.#used);
    this.#piece = this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#bytes);
    this.#used = 0;
    return piece;
  }

  /** A piece that nobody looks at any more: many large new ones would keep the garbage collector busy. */
  reuse(piece: Uint8Array): void {
    if (piece.length === this.#bytes)
      this.#free.push(Buffer.from(piece.buffer, piece.byteOffset, piece.length));
  }

  /** Gives back the memory of all pieces that are free. Nothing can be put any more. */
  close(): void {
    for (const piece of [this.#piece, ...this.#free.splice(0)]) release(piece);
  }
}

/** The entries that `next` answers, below `prefix`, each with the content that `source` has of it then. */
export async function* putEntries(
  pieces: Pieces,
  source: Pick<TarReader, 'content'>,
  prefix: string,
  next: () => Promise<CheckedEntry | null>,
): AsyncGenerator<Buffer> {
  for (let entry = await next(); entry !== null; entry = await next()) {
    for (const full of pieces.put(encodeHeader(entry, prefix))) yield full;
    if (entry.sizeBytes === 0) continue;
    for (let chunk = await source.content(); chunk !== null; chunk = await source.content())
      for (const full of pieces.put(chunk)) yield full;
    for (const full of pieces.put(ZEROS.subarray(0, paddingOf(entry.sizeBytes)))) yield full;
  }
}

/** A file of ours. */
export function fileEntry(path: string, content: Uint8Array): Buffer {
  const sizeBytes = content.length;
  const numbers = { sizeBytes, modeBits: 0o600, modifiedAtS: 0, userId: 0, groupId: 0 };
  const header = encodeHeader({ path, type: 'file', linkTarget: null, ...numbers }, '');
  return Buffer.concat([header, content, ZEROS.subarray(0, paddingOf(sizeBytes))]);
}
