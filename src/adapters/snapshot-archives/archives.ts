/** Snapshots as files below one directory: `<id>.tar.zst`, and `<id>.partial` while one is written. */
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SandboxerError } from '../../domain/errors.ts';
import { EntryRefusal } from '../../domain/snapshot/entry-rules.ts';
import { isSnapshotId, type SnapshotManifest, type SnapshotSums } from '../../domain/snapshot/manifest.ts';
import { asSentence } from '../../domain/text.ts';
import type { CapturedPart, RestoredPart } from '../../ports/snapshot.ts';
import type {
  SnapshotArchives,
  SnapshotRecord,
  StoredSnapshot,
  WrittenArchive,
} from '../../ports/snapshot-archives.ts';
import { Damage } from './damage.ts';
import { writeFrames } from './frames.ts';
import { ARCHIVE_LIMITS, type ArchiveLimits, bloat } from './limits.ts';
import { type ArchiveFiles, readParts, SUMS_ENTRY } from './reader.ts';
import { MANIFEST_ENTRY, proveFile } from './source.ts';
import { fileEntry, type Pieces, TAR_END } from './tar-writer.ts';
import { packPart } from './writer.ts';

const ARCHIVE_SUFFIX = '.tar.zst';
const DRAFT_SUFFIX = '.partial';

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** The whole archive; `done` gets the sums before the last of them. */
async function* content(
  pieces: Pieces,
  manifest: SnapshotManifest,
  parts: readonly CapturedPart[],
  limits: ArchiveLimits,
  signal: AbortSignal,
  done: (sums: SnapshotSums) => void,
): AsyncGenerator<Buffer> {
  yield* pieces.put(fileEntry(MANIFEST_ENTRY, Buffer.from(JSON.stringify(manifest))));
  const budget = { entries: limits.entries, bytes: limits.bytes };
  const sums: SnapshotSums = { parts: [] };
  for (const part of parts) {
    signal.throwIfAborted();
    sums.parts.push(yield* packPart(pieces, part, await part.open(signal), limits, budget));
  }
  yield* pieces.put(fileEntry(SUMS_ENTRY, Buffer.from(JSON.stringify(sums))));
  yield* pieces.put(TAR_END);
  done(sums);
  yield pieces.rest();
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
    ...[stored, wants, signal]: Parameters<SnapshotArchives['read']>
  ): AsyncGenerator<RestoredPart> {
    const told = (error: unknown) => (signal.aborted ? signal.reason : damageError(stored.record.id, error));
    const parts = readParts(this.#files(stored), wants, this.#limits, signal);
    for await (const part of rethrown(parts, told))
      yield { ...part, open: (top) => rethrown(part.open(top), told) };
  }

  async prove(stored: StoredSnapshot, signal: AbortSignal): Promise<void> {
    const { own, base } = this.#files(stored);
    try {
      await proveFile(own, signal);
      if (base !== null) await proveFile(base, signal);
    } catch (error) {
      throw signal.aborted ? signal.reason : damageError(stored.record.id, error);
    }
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
    let sums: SnapshotSums = { parts: [] };
    const all = (pieces: Pieces) =>
      content(pieces, manifest, parts, this.#limits, signal, (found) => {
        sums = found;
      });
    const file = await open(draft, 'wx', 0o600);
    try {
      const { inBytes, fileBytes, sha256 } = await writeFrames(file, all, signal);
      const why = bloat(this.#limits, inBytes, fileBytes);
      if (why !== null) throw new SandboxerError('snapshot_too_large', `The sandbox holds ${why}.`);
      await file.sync();
      return { fileBytes, sha256, sums };
    } finally {
      await file.close();
    }
  }

  #files({ record, base }: StoredSnapshot): ArchiveFiles {
    const fileOf = (one: SnapshotRecord) => ({ path: this.#path(one.id, ARCHIVE_SUFFIX), record: one });
    return { own: fileOf(record), base: base === null ? null : fileOf(base) };
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
