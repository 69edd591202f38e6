/** Snapshots as files below one directory: `<id>.tar.zst`, and `<id>.partial` while one is written. */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createZstdCompress } from 'node:zlib';
import type { Pack } from 'tar-stream';
import { SandboxerError } from '../../domain/errors.ts';
import { EntryRefusal } from '../../domain/snapshot/entry-rules.ts';
import { isSnapshotId, type SnapshotManifest, type SnapshotSums } from '../../domain/snapshot/manifest.ts';
import { asSentence } from '../../domain/text.ts';
import type { CapturedPart, RestoredPart } from '../../ports/snapshot.ts';
import type { SnapshotArchives, WrittenArchive } from '../../ports/snapshot-archives.ts';
import { bytesOf, inPieces, newArchive, PIECE_BYTES, putText } from './entries.ts';
import { ARCHIVE_LIMITS, type ArchiveLimits, bloat } from './limits.ts';
import { Damage, MANIFEST_ENTRY, readParts, SUMS_ENTRY } from './reader.ts';
import { writePart } from './writer.ts';

/** Small enough to keep up with a disk, and far better than none. */
const COMPRESSION_LEVEL = 3;
const ARCHIVE_SUFFIX = '.tar.zst';
const DRAFT_SUFFIX = '.partial';
/** Never far from the time of writing; in the archive there is no use for it. */
const NO_TIME = new Date(0);

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

function putJson(archive: Pack, name: string, value: object): Promise<void> {
  return putText(archive, { name, mtime: NO_TIME, mode: 0o600, type: 'file' }, JSON.stringify(value));
}

async function fill(
  archive: Pack,
  manifest: SnapshotManifest,
  parts: readonly CapturedPart[],
  limits: ArchiveLimits,
  signal: AbortSignal,
): Promise<SnapshotSums> {
  await putJson(archive, MANIFEST_ENTRY, manifest);
  const budget = { entries: limits.entries, bytes: limits.bytes };
  const sums: SnapshotSums = { parts: [] };
  for (const { part, open: openPart } of parts) {
    signal.throwIfAborted();
    sums.parts.push(await writePart(archive, part, await openPart(signal), limits, budget));
  }
  await putJson(archive, SUMS_ENTRY, sums);
  archive.finalize();
  return sums;
}

async function flushDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

class DirectoryArchives implements SnapshotArchives {
  readonly #directory: string;
  readonly #limits: ArchiveLimits;

  constructor(directory: string, limits: ArchiveLimits) {
    this.#directory = directory;
    this.#limits = limits;
  }

  async write(
    manifest: SnapshotManifest,
    parts: readonly CapturedPart[],
    signal: AbortSignal,
  ): Promise<WrittenArchive> {
    const draft = this.#path(manifest.snapshot_id, DRAFT_SUFFIX);
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      const written = await this.#writeDraft(draft, manifest, parts, signal);
      await rename(draft, this.#path(manifest.snapshot_id, ARCHIVE_SUFFIX));
      await flushDirectory(this.#directory);
      return written;
    } catch (error) {
      await rm(draft, { force: true });
      await this.remove(manifest.snapshot_id);
      if (!['ENOSPC', 'EDQUOT'].includes(codeOf(error))) throw error;
      throw new SandboxerError('store_full', `There is no room for the snapshot in ${this.#directory}.`, {
        nextStep: 'Free some space on its disk, or delete snapshots: sandboxer snapshots list',
        cleanedUp: 'What had been written of it was removed.',
        cause: error,
      });
    }
  }

  /** What is wrong with an archive may show in the middle of a part, which is read by somebody else. */
  async *read(
    ...[record, wants, signal]: Parameters<SnapshotArchives['read']>
  ): AsyncGenerator<RestoredPart> {
    const file = this.#path(record.id, ARCHIVE_SUFFIX);
    const told = (error: unknown) => (signal.aborted ? signal.reason : damageError(record.id, error));
    for await (const { part, open } of rethrown(readParts(file, record, wants, this.#limits, signal), told))
      yield { part, open: (top) => rethrown(open(top), told) };
  }

  async remove(id: string): Promise<void> {
    await rm(this.#path(id, ARCHIVE_SUFFIX), { force: true });
  }

  async removeLeftovers(isKnown: (id: string) => Promise<boolean>): Promise<void> {
    for (const name of await this.#names()) {
      const isKept = name.endsWith(ARCHIVE_SUFFIX) && (await isKnown(name.slice(0, -ARCHIVE_SUFFIX.length)));
      const isOurs = name.endsWith(DRAFT_SUFFIX) || name.endsWith(ARCHIVE_SUFFIX);
      if (isOurs && !isKept) await rm(join(this.#directory, name), { force: true });
    }
  }

  async #names(): Promise<readonly string[]> {
    try {
      return await readdir(this.#directory);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    }
  }

  async #writeDraft(
    draft: string,
    manifest: SnapshotManifest,
    parts: readonly CapturedPart[],
    signal: AbortSignal,
  ): Promise<WrittenArchive> {
    const archive = newArchive();
    const hash = createHash('sha256');
    let inBytes = 0;
    let fileBytes = 0;
    const after = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        hash.update(chunk);
        fileBytes += chunk.length;
        done(null, chunk);
      },
    });
    const compress = createZstdCompress({
      chunkSize: PIECE_BYTES,
      params: { [constants.ZSTD_c_compressionLevel]: COMPRESSION_LEVEL },
    });
    async function* content() {
      for await (const piece of inPieces(bytesOf(archive), PIECE_BYTES)) {
        inBytes += piece.length;
        yield piece;
      }
    }
    const file = createWriteStream(draft, { flags: 'wx', mode: 0o600, flush: true });
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const writing = pipeline(content, compress, after, file, { signal: either });
    const filling = fill(archive, manifest, parts, this.#limits, either);
    const sums = await bothOf(filling, writing, (error) => {
      stop.abort(error);
      archive.destroy(error);
    });
    const why = bloat(this.#limits, inBytes, fileBytes);
    if (why !== null) throw new SandboxerError('snapshot_too_large', `The sandbox holds ${why}.`);
    return { fileBytes, sha256: hash.digest('hex'), sums };
  }

  #path(id: string, suffix: string): string {
    if (!isSnapshotId(id)) throw new TypeError('not the id of a snapshot');
    return join(this.#directory, `${id}${suffix}`);
  }
}

async function* rethrown<Item>(
  source: AsyncIterable<Item>,
  told: (error: unknown) => unknown,
): AsyncGenerator<Item> {
  try {
    yield* source;
  } catch (error) {
    throw told(error);
  }
}

/** Waits for both; of two failures, the one that came first is what is told. */
async function bothOf<Result>(
  filling: Promise<Result>,
  writing: Promise<void>,
  end: (error: Error) => void,
): Promise<Result> {
  let first: Error | null = null;
  const failed = (error: Error) => {
    first ??= error;
    end(error);
  };
  const [filled] = await Promise.allSettled([
    filling.catch((error: Error) => {
      failed(error);
      throw error;
    }),
    writing.catch(failed),
  ]);
  if (first !== null) throw first;
  return (filled as PromiseFulfilledResult<Result>).value;
}

function damageError(id: string, error: unknown): unknown {
  if (error instanceof SandboxerError || error instanceof TypeError) return error;
  const why =
    codeOf(error) === 'ENOENT'
      ? 'its file is gone'
      : error instanceof Damage
        ? error.message
        : error instanceof EntryRefusal
          ? `its entry ${error.message}`
          : 'it cannot be unpacked';
  return new SandboxerError('snapshot_corrupt', asSentence(`The snapshot ${id} cannot be used: ${why}`), {
    nextStep: 'Take a new one, or restore another one: sandboxer snapshots list',
    cause: error,
  });
}

export function createSnapshotArchives(directory: string, limits = ARCHIVE_LIMITS): SnapshotArchives {
  return new DirectoryArchives(directory, limits);
}
