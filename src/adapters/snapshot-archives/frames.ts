/**
 * Zstandard, as independent frames one after the other, which every program reads as one file. Frames are compressed side
 * by side, and read again by `frame-reader.ts`.
 */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { Compressors, releasePacked } from './compressors.ts';
import { Pieces } from './tar-writer.ts';

/** Of each but the last, before it is compressed. */
const FRAME_BYTES = 1024 * 1024;
/** Of what is read: they were larger once. */
export const FRAME_BYTES_MAX = 4 * FRAME_BYTES;
/** Side by side, each way. */
export const FRAMES_UNDER_WAY = 2;
/** What cannot be compressed becomes a little larger. */
export const PACKED_BYTES_MAX = FRAME_BYTES_MAX + 64 * 1024;

export interface WrittenFrames {
  readonly inBytes: number;
  readonly fileBytes: number;
  /** Of the file, as hexadecimal digits. */
  readonly sha256: string;
}

/** What `content` puts into pieces, each as a frame. Nothing is written any more once this has settled. */
export async function writeFrames(
  file: FileHandle,
  content: (pieces: Pieces) => AsyncIterable<Buffer>,
  signal: AbortSignal,
): Promise<WrittenFrames> {
  const hash = createHash('sha256');
  const pieces = new Pieces(FRAME_BYTES);
  let inBytes = 0;
  let fileBytes = 0;
  const compressors = new Compressors();
  const store = async (piece: Buffer, before: Promise<void>) => {
    const packing = compressors.pack(piece).finally(() => pieces.reuse(piece));
    const [packed] = await Promise.all([packing, before]);
    for (const bytes of packed) {
      fileBytes += bytes.length;
      hash.update(bytes);
      await file.appendFile(bytes);
      releasePacked(bytes);
    }
  };
  let last = Promise.resolve();
  const underWay: Promise<void>[] = [];
  try {
    for await (const piece of content(pieces)) {
      signal.throwIfAborted();
      inBytes += piece.length;
      last = store(piece, last);
      last.catch(() => undefined); // told by whoever awaits it, or by the one after it
      underWay.push(last);
      if (underWay.length > FRAMES_UNDER_WAY) await underWay.shift();
    }
    await last;
  } finally {
    await Promise.allSettled(underWay);
    compressors.close();
    pieces.close();
  }
  return { inBytes, fileBytes, sha256: hash.digest('hex') };
}
