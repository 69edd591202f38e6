/** THE reader of archives: every restore goes through it. Nothing it is given is believed. */
import { type CheckedEntry, EntryRefusal, type EntryRules } from '../../domain/snapshot/entry-rules.ts';
import {
  partName,
  partPrefix,
  type SnapshotManifest,
  type SnapshotPart,
  type SnapshotSums,
  snapshotSumsSchema,
} from '../../domain/snapshot/manifest.ts';
import type { RestoredPart } from '../../ports/snapshot.ts';
import { Damage } from './damage.ts';
import type { ArchiveLimits } from './limits.ts';
import { nameInPart, Overlay } from './overlay.ts';
import { type ArchiveFile, Source } from './source.ts';
import type { TarReader } from './tar-reader.ts';
import { Pieces, putEntries, TAR_END } from './tar-writer.ts';
import { rulesFor, UNCHANGED_ENTRY } from './writer.ts';

export const SUMS_ENTRY = 'sums.json';
const PIECE_BYTES = 256 * 1024;

export interface ArchiveFiles {
  readonly own: ArchiveFile;
  /** Of what it builds on; null where it is a whole one. */
  readonly base: ArchiveFile | null;
}

function linkInPart(target: string, prefix: string): string {
  if (target.startsWith(`${prefix}/`)) return target.slice(prefix.length + 1);
  throw new EntryRefusal('hostile', target, 'is the target of a hard link out of its part');
}

interface Found {
  readonly entries: number;
  readonly bytes: number;
}

type Entries = Pick<TarReader, 'peek' | 'take' | 'content'>;

interface Walk {
  readonly limits: ArchiveLimits;
  /** Over all parts. */
  entries: number;
  bytes: number;
}

/** The entries of one part, checked. */
class PartWalk {
  readonly found = { entries: 0, bytes: 0 };
  readonly #walk: Walk;
  readonly #tar: Entries;
  readonly #prefix: string;
  readonly #rules: EntryRules;

  constructor(walk: Walk, tar: Entries, part: SnapshotPart) {
    this.#walk = walk;
    this.#tar = tar;
    this.#prefix = partPrefix(part);
    this.#rules = rulesFor(part);
  }

  async next(): Promise<CheckedEntry | null> {
    const { limits } = this.#walk;
    const raw = await this.#tar.peek();
    const name = raw === null ? null : nameInPart(raw.name, this.#prefix);
    if (raw === null || name === null) return null;
    await this.#tar.take();
    const target = raw.type === 'link' ? linkInPart(raw.linkTarget ?? '', this.#prefix) : raw.linkTarget;
    const entry = this.#rules.check({ ...raw, name, linkTarget: target });
    this.found.entries += 1;
    this.found.bytes += entry.sizeBytes;
    this.#walk.entries += 1;
    this.#walk.bytes += entry.sizeBytes;
    if (this.#walk.entries > limits.entries) throw new Damage(`it holds more than ${limits.entries} entries`);
    if (this.#walk.bytes > limits.bytes) throw new Damage(`it holds more than ${limits.bytes} bytes`);
    return entry;
  }

  async skip(): Promise<Found> {
    while ((await this.next()) !== null);
    return this.found;
  }
}

interface GivenPart {
  readonly walk: Walk;
  readonly tar: Entries;
  readonly part: SnapshotPart;
  readonly pieces: Pieces;
}

/** One part as a tar stream of its own; `done` gets what was in it once all of it was read. */
async function* partStream(
  { walk, tar, part, pieces }: GivenPart,
  top: string,
  done: (found: Found) => void,
): AsyncGenerator<Uint8Array> {
  const entries = new PartWalk(walk, tar, part);
  yield* putEntries(pieces, tar, top, () => entries.next());
  yield* pieces.put(TAR_END);
  yield pieces.rest();
  done(entries.found);
}

function checkSums(parts: readonly SnapshotPart[], found: readonly Found[], sums: SnapshotSums): void {
  if (sums.parts.length !== parts.length) throw new Damage('its sums are of other parts');
  for (const [index, part] of parts.entries()) {
    const { entries, bytes } = sums.parts[index]!;
    if (found[index]!.entries !== entries || found[index]!.bytes !== bytes)
      throw new Damage(`${partName(part)} is not complete`);
  }
}

/** What is read of one snapshot, and of what it builds on. */
class Reading {
  readonly source: Source;
  readonly #walk: Walk;
  readonly #files: ArchiveFiles;
  readonly #signal: AbortSignal;
  #base: Source | null = null;

  constructor(files: ArchiveFiles, limits: ArchiveLimits, signal: AbortSignal) {
    this.#files = files;
    this.#signal = signal;
    this.#walk = { limits, entries: 0, bytes: 0 };
    this.source = new Source(files.own, limits, signal);
  }

  /** A part that is given away; `done` gets what the archive itself held of it, once all of it was read. */
  async give(part: SnapshotPart, isChanges: boolean, done: (found: Found) => void): Promise<RestoredPart> {
    const { tar } = this.source;
    const pieces = new Pieces(PIECE_BYTES);
    const given = { walk: this.#walk, tar, part, pieces };
    const reuse = (piece: Uint8Array) => pieces.reuse(piece);
    if (!isChanges) return { part, open: (top) => partStream(given, top, done), reuse };
    const unchanged = await this.#readUnchanged();
    const overlay = new Overlay((await this.#openBase()).tar, tar, unchanged);
    const open = (top: string) => partStream({ ...given, tar: overlay }, top, () => done(overlay.found));
    return { part, open, reuse };
  }

  /** What the archive itself holds of a part that nobody wants. */
  async skip(part: SnapshotPart, isChanges: boolean): Promise<Found> {
    if (isChanges) await this.#readUnchanged();
    return new PartWalk(this.#walk, this.source.tar, part).skip();
  }

  /** What was read of the base's workspace means nothing before the rest of its file was read too. */
  async proveBase(): Promise<void> {
    if (this.#base === null) return;
    while ((await this.#base.tar.take()) !== null);
    await this.#base.prove();
  }

  async close(): Promise<void> {
    await this.source.tar.close();
    await this.#base?.tar.close();
  }

  #readUnchanged(): Promise<Buffer> {
    return this.source.readFile(UNCHANGED_ENTRY, this.#walk.limits.namesBytes);
  }

  async #openBase(): Promise<Source> {
    const { own, base } = this.#files;
    if (base === null || base.record.id !== own.record.manifest.based_on)
      throw new Damage('what it builds on is gone');
    this.#base = new Source(base, this.#walk.limits, this.#signal);
    const { based_on: next, parts } = await this.#base.readManifest();
    if (next !== undefined || parts[0]?.kind !== 'workspace')
      throw new Damage('what it builds on is no whole snapshot of a workspace');
    return this.#base;
  }
}

function isChangesOnly({ based_on: basedOn }: SnapshotManifest, { kind }: SnapshotPart): boolean {
  return basedOn !== undefined && kind === 'workspace';
}

/** See `SnapshotArchives.read`. Rejects with a `Damage`, an `EntryRefusal`, or what the file system or a stream says. */
export async function* readParts(
  files: ArchiveFiles,
  wants: (part: SnapshotPart) => boolean,
  limits: ArchiveLimits,
  signal: AbortSignal,
): AsyncGenerator<RestoredPart> {
  const reading = new Reading(files, limits, signal);
  const { source } = reading;
  try {
    const manifest = await source.readManifest();
    const found: Found[] = [];
    for (const [index, part] of manifest.parts.entries()) {
      const isChanges = isChangesOnly(manifest, part);
      if (wants(part)) {
        yield await reading.give(part, isChanges, (sum) => {
          found[index] = sum;
        });
        if (found[index] === undefined) throw new TypeError(`${partName(part)} was not read to its end`);
      } else {
        found[index] = await reading.skip(part, isChanges);
      }
    }
    checkSums(manifest.parts, found, await source.readJson(SUMS_ENTRY, snapshotSumsSchema));
    await source.prove();
    await reading.proveBase();
  } finally {
    await reading.close();
  }
}
