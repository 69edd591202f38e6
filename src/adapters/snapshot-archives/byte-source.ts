import { Damage } from './damage.ts';

/** A stream of bytes, of which as many are taken as are wanted. What is answered may be a view of what came. */
export class ByteSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Buffer = Buffer.alloc(0);
  #isOver = false;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#chunks = source[Symbol.asyncIterator]();
  }

  /** What is there already, or comes next, at most `bytesMax`; null at the end. */
  async some(bytesMax: number): Promise<Buffer | null> {
    if (this.#chunk.length === 0 && !(await this.#more())) return null;
    return this.#take(bytesMax);
  }

  /** Exactly so many bytes; null when there are none at all any more. Rejects with a `Damage` when there are fewer. */
  async exactly(count: number): Promise<Buffer | null> {
    if (this.#chunk.length >= count) return this.#take(count);
    const parts: Buffer[] = [];
    for (let missing = count; missing > 0; ) {
      const part = await this.some(missing);
      if (part === null && parts.length === 0) return null;
      if (part === null) throw new Damage('it ends in the middle');
      parts.push(part);
      missing -= part.length;
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts, count);
  }

  /** Rejects with a `Damage` when there are fewer. */
  async demand(count: number): Promise<Buffer> {
    const bytes = await this.exactly(count);
    if (bytes === null) throw new Damage('it ends in the middle');
    return bytes;
  }

  async close(): Promise<void> {
    this.#isOver = true;
    await this.#chunks.return?.();
  }

  #take(bytesMax: number): Buffer {
    const taken = this.#chunk.subarray(0, bytesMax);
    this.#chunk = this.#chunk.subarray(taken.length);
    return taken;
  }

  /** False at the end. */
  async #more(): Promise<boolean> {
    while (this.#chunk.length === 0 && !this.#isOver) {
      const { done, value } = await this.#chunks.next();
      if (done) this.#isOver = true;
      else this.#chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
    return this.#chunk.length > 0;
  }
}
