/** One part of a sandbox, from the tar stream that a backend gives into our archive, entry by entry. */
import { SandboxerError } from '../../domain/errors.ts';
import {
  type CheckedEntry,
  EntryRefusal,
  EntryRules,
  pathParts,
  type RawEntry,
} from '../../domain/snapshot/entry-rules.ts';
import {
  partName,
  partPrefix,
  type SnapshotPart,
  type SnapshotSums,
} from '../../domain/snapshot/manifest.ts';
import { printable } from '../../domain/text.ts';
import { ExtensionError } from '../../ports/extension.ts';
import type { CapturedPart } from '../../ports/snapshot.ts';
import { Damage } from './damage.ts';
import type { ArchiveLimits } from './limits.ts';
import { Names } from './names.ts';
import { TarReader } from './tar-reader.ts';
import { fileEntry, type Pieces, putEntries } from './tar-writer.ts';

const NAMES_SHOWN = 5;
/** The paths of what did not change since the base; see `CapturedPart.isChanges`. */
export const UNCHANGED_ENTRY = 'unchanged';
/** In a workspace everything is the sandbox's user's. */
export const WORKSPACE_OWNER_ID = 1_000;

export function rulesFor(part: SnapshotPart): EntryRules {
  return new EntryRules(part.kind === 'workspace' ? WORKSPACE_OWNER_ID : null);
}

/** What was left out of a part, counted by the reason. */
class LeftOut {
  readonly #byReason = new Map<string, { count: number; readonly names: string[] }>();
  readonly #paths = new Set<string>();

  add(path: string, why: string): void {
    this.#paths.add(path);
    const known = this.#byReason.get(why) ?? { count: 0, names: [] };
    known.count += 1;
    if (known.names.length < NAMES_SHOWN) known.names.push(printable(path, 100));
    this.#byReason.set(why, known);
  }

  has(path: string): boolean {
    return this.#paths.has(path);
  }

  sentences(): string[] {
    return [...this.#byReason].map(([why, { count, names }]) => {
      const more = count > names.length ? ' and more' : '';
      return `${count === 1 ? 'one entry' : `${count} entries`}, each of which ${why}: ${names.join(', ')}${more}`;
    });
  }
}

/** Takes the name of the top directory, which each backend writes as it likes, off the names in it. */
class Top {
  #parts: readonly string[] | null = null;

  relative(raw: RawEntry): RawEntry {
    const parts = pathParts(raw.name);
    this.#parts ??= parts;
    const target =
      raw.type === 'link' ? this.#below(pathParts(raw.linkTarget ?? ''), raw.name).join('/') : raw.linkTarget;
    return { ...raw, name: this.#below(parts, raw.name).join('/'), linkTarget: target };
  }

  #below(parts: readonly string[], name: string): readonly string[] {
    const top = this.#parts ?? [];
    if (top.some((part, index) => parts[index] !== part)) {
      throw new EntryRefusal('hostile', name, 'does not lie below the first entry');
    }
    return parts.slice(top.length);
  }
}

/** What is left of the limits for the parts to come. */
export interface Budget {
  entries: number;
  bytes: number;
}

function spend(budget: Budget, entry: CheckedEntry, limits: ArchiveLimits): void {
  budget.entries -= 1;
  budget.bytes -= entry.sizeBytes;
  if (budget.entries >= 0 && budget.bytes >= 0) return;
  const what =
    budget.entries < 0 ? `more than ${limits.entries} entries` : `more than ${limits.bytes} bytes of files`;
  throw new SandboxerError(
    'snapshot_too_large',
    `The sandbox holds ${what}, which is what a snapshot may hold.`,
  );
}

/** Null for what is left out. */
function checked(raw: RawEntry, rules: EntryRules, leftOut: LeftOut): CheckedEntry | null {
  try {
    const entry = rules.check(raw);
    if (entry.linkTarget === null || entry.type !== 'link' || !leftOut.has(entry.linkTarget)) return entry;
    leftOut.add(entry.path, 'is a hard link to something that is left out');
    return null;
  } catch (error) {
    if (!(error instanceof EntryRefusal) || error.kind === 'hostile') throw error;
    leftOut.add(error.path, error.why);
    return null;
  }
}

/** The checked entries of one part, and what is counted of them. */
class PartEntries {
  readonly #tar: TarReader;
  readonly #rules: EntryRules;
  readonly #limits: ArchiveLimits;
  readonly #budget: Budget;
  readonly #top = new Top();
  readonly #leftOut = new LeftOut();
  readonly #unchanged: Names | null;
  #entries = 0;
  #bytes = 0;

  /** `unchanged`: what of the base will be among them; null where they are all there is. */
  constructor(
    tar: TarReader,
    part: SnapshotPart,
    unchanged: Names | null,
    limits: ArchiveLimits,
    budget: Budget,
  ) {
    this.#tar = tar;
    this.#unchanged = unchanged;
    this.#rules = rulesFor(part);
    this.#limits = limits;
    this.#budget = budget;
  }

  /** The next one that is not left out. */
  async next(): Promise<CheckedEntry | null> {
    for (let raw = await this.#tar.take(); raw !== null; raw = await this.#tar.take()) {
      const entry = checked(this.#top.relative(raw), this.#rules, this.#leftOut);
      if (entry === null) continue;
      this.#refuseBetween(entry);
      spend(this.#budget, entry, this.#limits);
      this.#entries += 1;
      this.#bytes += entry.sizeBytes;
      return entry;
    }
    this.#unchanged?.finish();
    return null;
  }

  /** Between the look for what changed and the reading of it, a directory may have given way to something else. */
  #refuseBetween({ type, path }: CheckedEntry): void {
    if (type === 'directory' || this.#unchanged?.hasBelow(Buffer.from(path)) !== true) return;
    throw new ExtensionError('transient', `The directory ${printable(path, 100)} went while it was read.`);
  }

  get sums(): SnapshotSums['parts'][number] {
    return { entries: this.#entries, bytes: this.#bytes, left_out: this.#leftOut.sentences() };
  }
}

async function readUnchanged(tar: TarReader, limits: ArchiveLimits): Promise<Buffer> {
  const entry = await tar.take();
  if (entry === null || entry.type !== 'file')
    throw new Damage('what did not change is not where it must be');
  if (entry.sizeBytes > limits.namesBytes) throw new Damage('it tells too many names of what did not change');
  return tar.wholeContent();
}

/** Reads `source` to its end into pieces. Rejects with what it rejects with, or with what is wrong with it. */
export async function* packPart(
  pieces: Pieces,
  { part, isChanges = false }: Pick<CapturedPart, 'part' | 'isChanges'>,
  source: AsyncIterable<Uint8Array>,
  limits: ArchiveLimits,
  budget: Budget,
): AsyncGenerator<Buffer, SnapshotSums['parts'][number]> {
  const tar = new TarReader(source);
  try {
    const unchanged = isChanges ? await readUnchanged(tar, limits) : null;
    if (unchanged !== null) yield* pieces.put(fileEntry(UNCHANGED_ENTRY, unchanged));
    const names = unchanged === null ? null : new Names(unchanged);
    const entries = new PartEntries(tar, part, names, limits, budget);
    yield* putEntries(pieces, tar, partPrefix(part), () => entries.next());
    if (entries.sums.entries > 0) return entries.sums;
  } catch (error) {
    if (!(error instanceof EntryRefusal) && !(error instanceof Damage)) throw error;
    throw new ExtensionError(
      'bug',
      `The backend gave something else than ${partName(part)}: ${error.message}.`,
      {
        cause: error,
      },
    );
  } finally {
    await tar.close();
  }
  throw new ExtensionError('transient', `The backend gave nothing of ${partName(part)}.`);
}
