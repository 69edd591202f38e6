/**
 * Zstandard, as independent frames one after the other, which every program reads as one file. Frames are compressed side
 * by side. Node's own stream reads no more than the first of several, so the end of each is found here (RFC 8878, 3.1.1).
 */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createZstdCompress, createZstdDecompress } from 'node:zlib';
import type { ByteSource } from './byte-source.ts';
import { Damage } from './damage.ts';
import { Pieces } from './tar-writer.ts';

/** Before they are compressed. */
const FRAME_BYTES = 4 * 1024 * 1024;
/** A level that keeps up with a network, and is far better than none. */
const PARAMETERS = { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 };
const FRAMES_UNDER_WAY = 2;
const PIECE_BYTES = 256 * 1024;
const FRAME_MAGIC = 0xfd2fb528;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];
const CONTENT_SIZE_BYTES = [0, 2, 4, 8];
const BLOCK_HEADER_BYTES = 3;
const CHECKSUM_BYTES = 4;
const REPEATED_BYTE_BLOCK = 1;
const RESERVED_BLOCK = 3;

export interface WrittenFrames {
  readonly inBytes: number;
  readonly fileBytes: number;
  /** Of the file, as hexadecimal digits. */
  readonly sha256: string;
}

/** Makes frames one after the other, each in a thread beside ours. */
class Press {
  readonly #stream = createZstdCompress({ chunkSize: PIECE_BYTES, params: PARAMETERS });
  #parts: Buffer[] = [];
  #last: Promise<unknown> = Promise.resolve();

  constructor() {
    this.#stream.on('data', (part: Buffer) => this.#parts.push(part));
  }

  /** The parts of the frame. */
  press(piece: Buffer): Promise<readonly Buffer[]> {
    const frame = this.#last.then(() => this.#press(piece));
    this.#last = frame.catch(() => undefined); // told to whoever asked for it
    return frame;
  }

  close(): void {
    this.#stream.destroy();
  }

  #press(piece: Buffer): Promise<readonly Buffer[]> {
    this.#parts = [];
    return new Promise((resolve, reject) => {
      this.#stream.once('error', reject);
      this.#stream.write(piece);
      this.#stream.flush(constants.ZSTD_e_end, () => {
        this.#stream.off('error', reject);
        resolve(this.#parts);
      });
    });
  }
}

/** What `content` puts into pieces, each as a frame. Nothing is written any more once this has settled. */
export async function writeFrames(
  file: FileHandle,
  content: (pieces: Pieces) => AsyncIterable<Buffer>,
  signal: AbortSignal,
): Promise<WrittenFrames> {
  const hash = createHash('sha256');
  const pieces = new Pieces(FRAME_BYTES);
  const presses = Array.from({ length: FRAMES_UNDER_WAY }, () => new Press());
  let inBytes = 0;
  let fileBytes = 0;
  const store = async (piece: Buffer, compressing: Promise<readonly Buffer[]>, before: Promise<void>) => {
    const [parts] = await Promise.all([compressing, before]);
    pieces.reuse(piece);
    for (const part of parts) {
      fileBytes += part.length;
      hash.update(part);
      await file.appendFile(part);
    }
  };
  let last = Promise.resolve();
  const underWay: Promise<void>[] = [];
  try {
    for await (const piece of content(pieces)) {
      signal.throwIfAborted();
      inBytes += piece.length;
      const press = presses.shift()!;
      presses.push(press);
      last = store(piece, press.press(piece), last);
      last.catch(() => undefined); // told by whoever awaits it, or by the one after it
      underWay.push(last);
      if (underWay.length > FRAMES_UNDER_WAY) await underWay.shift();
    }
    await last;
  } finally {
    await Promise.allSettled(underWay);
    for (const press of presses) press.close();
  }
  return { inBytes, fileBytes, sha256: hash.digest('hex') };
}

/** The bytes of one frame, whose magic number was read. */
async function* frameBytes(bytes: ByteSource, magic: Buffer): AsyncGenerator<Buffer> {
  const descriptor = await bytes.demand(1);
  const flags = descriptor[0]!;
  const isSingleSegment = (flags & 0x20) !== 0;
  const sizeFlag = flags >> 6;
  const sizeBytes = sizeFlag === 0 && isSingleSegment ? 1 : CONTENT_SIZE_BYTES[sizeFlag]!;
  const headerBytes = (isSingleSegment ? 0 : 1) + DICTIONARY_ID_BYTES[flags & 3]! + sizeBytes;
  const checksumBytes = (flags & 4) === 0 ? 0 : CHECKSUM_BYTES;
  let piece = await bytes.demand(headerBytes + BLOCK_HEADER_BYTES);
  yield Buffer.concat([magic, descriptor]);
  for (;;) {
    yield piece;
    const block = piece.readUIntLE(piece.length - BLOCK_HEADER_BYTES, BLOCK_HEADER_BYTES);
    const type = (block >> 1) & 3;
    if (type === RESERVED_BLOCK) throw new Damage('it cannot be unpacked');
    const contentBytes = type === REPEATED_BYTE_BLOCK ? 1 : block >> 3;
    if ((block & 1) === 1) {
      if (contentBytes + checksumBytes > 0) yield await bytes.demand(contentBytes + checksumBytes);
      return;
    }
    piece = await bytes.demand(contentBytes + BLOCK_HEADER_BYTES);
  }
}

/** What all frames hold, one after the other. Rejects with a `Damage`, or with what the library says. */
export async function* readFrames(bytes: ByteSource): AsyncGenerator<Buffer> {
  for (let magic = await bytes.exactly(4); magic !== null; magic = await bytes.exactly(4)) {
    if (magic.readUInt32LE() !== FRAME_MAGIC) throw new Damage('it cannot be unpacked');
    const frame = Readable.from(frameBytes(bytes, magic), { objectMode: false });
    const content = createZstdDecompress({ chunkSize: PIECE_BYTES });
    const fed = pipeline(frame, content);
    fed.catch(() => undefined); // told below, or by the content
    yield* content as AsyncIterable<Buffer>;
    await fed;
  }
}
