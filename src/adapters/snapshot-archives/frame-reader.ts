/**
 * Frames as `frames.ts` writes them, unpacked side by side in threads beside ours. Node's own stream reads no more than the
 * first of several, so the end of each is found here (RFC 8878, 3.1.1). A frame that is larger than ours ever are is refused,
 * so no file decides how much memory it takes to read it.
 */
import { promisify } from 'node:util';
import { constants, zstdDecompress } from 'node:zlib';
import { release } from '../../domain/streams.ts';
import type { ByteSource } from './byte-source.ts';
import { Damage } from './damage.ts';
import { FRAME_BYTES_MAX, FRAMES_UNDER_WAY, PACKED_BYTES_MAX } from './frames.ts';

const FRAME_MAGIC = 0xfd2fb528;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];
const CONTENT_SIZE_BYTES = [0, 2, 4, 8];
const BLOCK_HEADER_BYTES = 3;
const CHECKSUM_BYTES = 4;
const REPEATED_BYTE_BLOCK = 1;
const RESERVED_BLOCK = 3;

/** What the library takes at least. */
const UNPACKED_BUFFER_BYTES_MIN = 64;
const WINDOW_BITS_MAX = Math.log2(FRAME_BYTES_MAX);

const decompress = promisify(zstdDecompress);

/** The bytes of one frame as they are stored, put together in memory that is used again. */
class PackedFrame {
  /** What it says to hold, or what it may hold. */
  contentBytes = 0;
  readonly #buffer = Buffer.allocUnsafeSlow(PACKED_BYTES_MAX);
  #used = 0;

  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#used);
  }

  /** False at the end. */
  async read(source: ByteSource): Promise<boolean> {
    this.#used = 0;
    const magic = await source.exactly(4);
    if (magic === null) return false;
    if (magic.readUInt32LE() !== FRAME_MAGIC) throw new Damage('it cannot be unpacked');
    this.#put(magic);
    const descriptor = await this.#more(source, 1);
    const flags = descriptor[0]!;
    const isSingleSegment = (flags & 0x20) !== 0;
    const sizeFlag = flags >> 6;
    const sizeBytes = sizeFlag === 0 && isSingleSegment ? 1 : CONTENT_SIZE_BYTES[sizeFlag]!;
    await this.#more(source, (isSingleSegment ? 0 : 1) + DICTIONARY_ID_BYTES[flags & 3]!);
    this.contentBytes = contentBytesIn(await this.#more(source, sizeBytes));
    if (this.contentBytes > FRAME_BYTES_MAX) throw tooLarge();
    for (let isLast = false; !isLast; ) {
      const block = (await this.#more(source, BLOCK_HEADER_BYTES)).readUIntLE(0, BLOCK_HEADER_BYTES);
      const type = (block >> 1) & 3;
      if (type === RESERVED_BLOCK) throw new Damage('it cannot be unpacked');
      await this.#more(source, type === REPEATED_BYTE_BLOCK ? 1 : block >> 3);
      isLast = (block & 1) === 1;
    }
    if ((flags & 4) !== 0) await this.#more(source, CHECKSUM_BYTES);
    return true;
  }

  async #more(source: ByteSource, count: number): Promise<Buffer> {
    if (this.#used + count > PACKED_BYTES_MAX) throw tooLarge();
    const target = this.#buffer.subarray(this.#used, this.#used + count);
    await source.fill(target);
    this.#used += count;
    return target;
  }

  #put(bytes: Buffer): void {
    this.#buffer.set(bytes, this.#used);
    this.#used += bytes.length;
  }
}

/** Of a frame by the field that says so. */
function contentBytesIn(field: Buffer): number {
  if (field.length === 0) return FRAME_BYTES_MAX;
  if (field.length === 8) return Number(field.readBigUInt64LE());
  return field.readUIntLE(0, field.length) + (field.length === 2 ? 256 : 0);
}

function tooLarge(): Damage {
  return new Damage('one of its frames is too large');
}

/** In a thread beside ours. The frame must not be used again before this has settled. */
async function unpack(frame: PackedFrame): Promise<Buffer> {
  try {
    return await decompress(frame.bytes, {
      // One more than it holds, so that the library never begins a second buffer.
      chunkSize: Math.max(frame.contentBytes + 1, UNPACKED_BUFFER_BYTES_MIN),
      maxOutputLength: FRAME_BYTES_MAX,
      params: { [constants.ZSTD_d_windowLogMax]: WINDOW_BITS_MAX },
    });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null;
    throw code === 'ERR_BUFFER_TOO_LARGE' || code === 'ZSTD_error_frameParameter_windowTooLarge'
      ? tooLarge()
      : error;
  }
}

/**
 * What all frames hold, one after the other; each answer is gone once the next is asked for. Rejects with a `Damage`, or
 * with what the library says.
 */
export async function* readFrames(source: ByteSource): AsyncGenerator<Buffer> {
  const free: PackedFrame[] = [];
  const underWay: Promise<Buffer>[] = [];
  try {
    for (let isOver = false; ; ) {
      while (!isOver && underWay.length < FRAMES_UNDER_WAY) {
        const frame = free.pop() ?? new PackedFrame();
        isOver = !(await frame.read(source));
        if (isOver) break;
        const unpacking = unpack(frame).finally(() => free.push(frame));
        unpacking.catch(() => undefined); // told by whoever awaits it
        underWay.push(unpacking);
      }
      const content = await underWay.shift();
      if (content === undefined) return;
      yield content;
      release(content);
    }
  } finally {
    await Promise.allSettled(underWay);
  }
}
