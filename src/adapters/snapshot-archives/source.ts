/** One stored archive, unpacked and held to the limits and to its record. */
import { createHash } from 'node:crypto';
import { open as openFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import type { z } from 'zod';
import { type SnapshotManifest, snapshotManifestSchema } from '../../domain/snapshot/manifest.ts';
import type { SnapshotRecord } from '../../ports/snapshot-archives.ts';
import { ByteSource } from './byte-source.ts';
import { Damage } from './damage.ts';
import { readFrames } from './frame-reader.ts';
import { type ArchiveLimits, bloat } from './limits.ts';
import { TarReader } from './tar-reader.ts';

export const MANIFEST_ENTRY = 'manifest.json';
const READ_BYTES = 1024 * 1024;

/** Where an archive lies, and what it must be. */
export interface ArchiveFile {
  readonly path: string;
  readonly record: SnapshotRecord;
}

/** The file as it is stored. */
class StoredFile {
  bytes = 0;
  readonly #path: string;
  readonly #record: SnapshotRecord;
  readonly #hash = createHash('sha256');

  constructor({ path, record }: ArchiveFile) {
    this.#path = path;
    this.#record = record;
  }

  /** Each chunk is overwritten by the next one. */
  async *read(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const file = await openFile(this.#path, 'r');
    try {
      const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
      for (;;) {
        signal.throwIfAborted();
        const { bytesRead } = await file.read(buffer, 0, READ_BYTES);
        if (bytesRead === 0) return;
        const chunk = buffer.subarray(0, bytesRead);
        this.#hash.update(chunk);
        this.bytes += bytesRead;
        yield chunk;
      }
    } finally {
      await file.close();
    }
  }

  /** Once all of it was read. */
  prove(): void {
    const { fileBytes, sha256 } = this.#record;
    if (this.bytes !== fileBytes) throw new Damage(`it has ${this.bytes} bytes instead of ${fileBytes}`);
    if (this.#hash.digest('hex') !== sha256) throw new Damage('its content is not what was written');
  }
}

/** Reads all of it and looks at nothing but its sum. Rejects like `readParts`. */
export async function proveFile(file: ArchiveFile, signal: AbortSignal): Promise<void> {
  const stored = new StoredFile(file);
  for await (const _ of stored.read(signal));
  stored.prove();
}

export class Source {
  readonly tar: TarReader;
  readonly #record: SnapshotRecord;
  readonly #stored: StoredFile;
  readonly #limits: ArchiveLimits;
  #outBytes = 0;

  constructor(file: ArchiveFile, limits: ArchiveLimits, signal: AbortSignal) {
    this.#limits = limits;
    this.#record = file.record;
    this.#stored = new StoredFile(file);
    this.tar = new TarReader(this.#content(new ByteSource(this.#stored.read(signal))));
  }

  /** What the archive begins with. */
  async readManifest(): Promise<SnapshotManifest> {
    const manifest = await this.readJson(MANIFEST_ENTRY, snapshotManifestSchema);
    if (!isDeepStrictEqual(manifest, this.#record.manifest)) throw new Damage('its manifest is another one');
    return manifest;
  }

  async readJson<Schema extends z.ZodType>(name: string, schema: Schema): Promise<z.output<Schema>> {
    const bytes = await this.readFile(name, this.#limits.manifestBytes);
    try {
      return schema.parse(JSON.parse(bytes.toString('utf8')));
    } catch {
      throw new Damage(`${name} cannot be read`);
    }
  }

  /** The content of the next entry, which is a file of ours. */
  async readFile(name: string, bytesMax: number): Promise<Buffer> {
    const entry = await this.tar.take();
    if (entry === null) throw new Damage(`it ends before ${name}`);
    if (entry.name !== name || entry.type !== 'file') throw new Damage(`${name} is not where it must be`);
    if (entry.sizeBytes > bytesMax) throw new Damage(`${name} is too large`);
    return this.tar.wholeContent();
  }

  /** Once the last entry was taken: that nothing follows it, and that the file is the recorded one. */
  async prove(): Promise<void> {
    if ((await this.tar.take()) !== null) throw new Damage('something follows its end');
    this.#stored.prove();
  }

  async *#content(stored: ByteSource): AsyncGenerator<Uint8Array> {
    try {
      for await (const piece of readFrames(stored)) {
        this.#outBytes += piece.length;
        const why = bloat(this.#limits, this.#outBytes, this.#stored.bytes);
        if (why !== null) throw new Damage(`it holds ${why}`);
        yield piece;
      }
    } finally {
      await stored.close();
    }
  }
}
