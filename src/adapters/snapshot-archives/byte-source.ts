import { Damage } from './damage.ts';

/**
 * A stream of bytes, of which as many are taken as are wanted. What is answered may be a view of what came, and may be
 * overwritten once more is asked for.
 */
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
    if (this.#chunk.length === 0 && !(await this.#more())) return null;
    if (this.#chunk.length >= count) return this.#take(count);
    const bytes = Buffer.allocUnsafe(count);
    await this.fill(bytes);
    return bytes;
  }

  /** All of `target`. Rejects with a `Damage` when there is less. */
  async fill(target: Buffer): Promise<void> {
    for (let filled = 0; filled < target.length; ) {
      const part = await this.some(target.length - filled);
      if (part === null) throw new Damage('it ends in the middle');
      target.set(part, filled);
      filled += part.length;
    }
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
