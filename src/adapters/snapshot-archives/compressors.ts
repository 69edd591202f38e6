/** Zstandard frames, made in threads beside ours. */
import { constants, createZstdCompress, type ZstdCompress } from 'node:zlib';
import { release } from '../../domain/streams.ts';

/** A level that keeps up with a network, and is far better than none. */
const PARAMETERS = { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 };
/** What is compressed is put into memory of this size, one after the other, wherever a frame ends. */
const MEMORY_BYTES = 256 * 1024;

/** Makes one frame after the other. It is kept, since each new one takes memory that only the garbage collector gives back. */
class Compressor {
  readonly #stream: ZstdCompress;
  readonly #packed: Buffer[] = [];

  constructor() {
    const flush = constants.ZSTD_e_end; // after each write, so that each is a frame
    this.#stream = createZstdCompress({ flush, chunkSize: MEMORY_BYTES, params: PARAMETERS });
    this.#stream.on('data', (bytes: Buffer) => this.#packed.push(bytes));
    this.#stream.on('error', () => undefined); // told to whoever waits for the frame
  }

  pack(piece: Buffer): Promise<readonly Buffer[]> {
    const { promise, resolve, reject } = Promise.withResolvers<readonly Buffer[]>();
    this.#stream.write(piece, (error) => (error ? reject(error) : resolve(this.#packed.splice(0))));
    return promise;
  }

  close(): void {
    this.#stream.destroy();
  }
}

export class Compressors {
  readonly #all: Compressor[] = [];
  readonly #free: Compressor[] = [];

  /** The bytes of a frame that holds `piece`, which must stay as it is until then. Each of them goes to `releasePacked`. */
  async pack(piece: Buffer): Promise<readonly Buffer[]> {
    const compressor = this.#free.pop() ?? this.#another();
    const packed = await compressor.pack(piece);
    this.#free.push(compressor);
    return packed;
  }

  close(): void {
    for (const compressor of this.#all) compressor.close();
  }

  #another(): Compressor {
    const compressor = new Compressor();
    this.#all.push(compressor);
    return compressor;
  }
}

/** Nobody looks at these bytes of a frame any more, nor at any before them. The last ones in their memory give it back. */
export function releasePacked(bytes: Buffer): void {
  const memory = bytes.buffer;
  if (bytes.byteOffset + bytes.length === memory.byteLength) release(Buffer.from(memory));
}
