import type { RawEntry } from '../../domain/snapshot/entry-rules.ts';
import { ByteSource } from './byte-source.ts';
import { Damage } from './damage.ts';
import { readLongName, readRecords } from './tar-extensions.ts';
import {
  BLOCK_BYTES,
  checkHeader,
  decodeHeader,
  flagOf,
  isZero,
  type Overrides,
  paddingOf,
  sizeOf,
} from './tar-header.ts';

const EXTENSION_BYTES_MAX = 1024 * 1024;
/** Before one entry; honest programs write four at most. */
const EXTENSIONS_MAX = 16;
/** Programs fill up the last of their records with zeros. */
const FILLING_BYTES_MAX = 16 * 1024 * 1024;

function overridesIn(flag: string, content: Buffer): Overrides {
  if (flag === 'L') return { name: readLongName(content) };
  if (flag === 'K') return { linkTarget: readLongName(content) };
  return readRecords(content);
}

/**
 * The entries of a tar stream one by one. Of its content no more is held than the chunk that came last. Rejects with a
 * `Damage` for anything that is no archive or not a whole one; a stream of no bytes is an archive of nothing.
 */
export class TarReader {
  readonly #bytes: ByteSource;
  #global: Overrides = {};
  #held: RawEntry | null = null;
  #contentLeft = 0;
  #padding = 0;
  #isBegun = false;
  #isOver = false;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#bytes = new ByteSource(source);
  }

  /** The entry that `take` will answer. What was not read of the one before is skipped. */
  async peek(): Promise<RawEntry | null> {
    if (this.#held === null && !this.#isOver) {
      await this.#skipRest();
      this.#held = await this.#next();
      this.#isOver = this.#held === null;
    }
    return this.#held;
  }

  /** Null at the end, which was then read to its last byte. */
  async take(): Promise<RawEntry | null> {
    const entry = await this.peek();
    this.#held = null;
    return entry;
  }

  /** More of the content of the entry that was taken, until more is asked for; null at its end. */
  async content(): Promise<Buffer | null> {
    if (this.#contentLeft === 0) return null;
    const chunk = await this.#bytes.some(this.#contentLeft);
    if (chunk === null) throw new Damage('it ends in the middle');
    this.#contentLeft -= chunk.length;
    return chunk;
  }

  /** All of the content of the entry that was taken; whoever asks has looked at its size. */
  async wholeContent(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for (let chunk = await this.content(); chunk !== null; chunk = await this.content())
      chunks.push(Buffer.from(chunk));
    return Buffer.concat(chunks);
  }

  /** Ends the source too. */
  close(): Promise<void> {
    return this.#bytes.close();
  }

  async #skipRest(): Promise<void> {
    while ((await this.content()) !== null);
    if (this.#padding > 0) await this.#bytes.demand(this.#padding);
    this.#padding = 0;
  }

  async #next(): Promise<RawEntry | null> {
    for (let more = this.#global, extensions = 0; ; extensions += 1) {
      if (extensions > EXTENSIONS_MAX) throw new Damage('it has too many extensions before one entry');
      const block = await this.#bytes.exactly(BLOCK_BYTES);
      if (block === null && !this.#isBegun) return null;
      if (block === null) throw new Damage('it ends before its end');
      this.#isBegun = true;
      if (block[0] === 0 && isZero(block)) {
        await this.#readFilling();
        return null;
      }
      checkHeader(block);
      const extension = await this.#extension(block);
      if (extension === null) {
        const entry = decodeHeader(block, more);
        this.#begin(entry.sizeBytes);
        return entry;
      }
      more = { ...more, ...extension };
    }
  }

  #begin(sizeBytes: number): void {
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0)
      throw new Damage('it has an entry of a size that cannot be');
    this.#contentLeft = sizeBytes;
    this.#padding = paddingOf(sizeBytes);
  }

  /** What a header says of the entries that follow; null for that of an entry. */
  async #extension(block: Buffer): Promise<Overrides | null> {
    const flag = flagOf(block);
    if (!['x', 'g', 'L', 'K'].includes(flag)) return null;
    const bytes = sizeOf(block);
    if (bytes > EXTENSION_BYTES_MAX) throw new Damage('it has too large an extension');
    const content = bytes === 0 ? Buffer.alloc(0) : await this.#bytes.demand(bytes);
    const overrides = overridesIn(flag, content);
    if (paddingOf(bytes) > 0) await this.#bytes.demand(paddingOf(bytes));
    if (flag === 'g') this.#global = { ...this.#global, ...overrides };
    return overrides;
  }

  async #readFilling(): Promise<void> {
    let left = FILLING_BYTES_MAX;
    for (let chunk = await this.#bytes.some(left); chunk !== null; chunk = await this.#bytes.some(left)) {
      left -= chunk.length;
      if (left <= 0 || !isZero(chunk)) throw new Damage('something follows its end');
    }
  }
}
