/**
 * Zstandard, as independent frames one after the other, which every program reads as one file. Frames are compressed side
 * by side, and read again by `frame-reader.ts`.
 */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { constants, createZstdCompress } from 'node:zlib';
import { Pieces } from './tar-writer.ts';

/** Of each but the last, before it is compressed. */
export const FRAME_BYTES = 4 * 1024 * 1024;
/** A level that keeps up with a network, and is far better than none. */
const PARAMETERS = { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 };
const FRAMES_UNDER_WAY = 2;
const PIECE_BYTES = 256 * 1024;

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
