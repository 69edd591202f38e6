/** THE reader of archives: every restore goes through it. Nothing it is given is believed. */
import { createHash } from 'node:crypto';
import { open as openFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import type { z } from 'zod';
import { type CheckedEntry, EntryRefusal, type EntryRules } from '../../domain/snapshot/entry-rules.ts';
import {
  partName,
  partPrefix,
  type SnapshotPart,
  type SnapshotSums,
  snapshotManifestSchema,
  snapshotSumsSchema,
} from '../../domain/snapshot/manifest.ts';
import type { RestoredPart } from '../../ports/snapshot.ts';
import type { SnapshotRecord } from '../../ports/snapshot-archives.ts';
import { ByteSource } from './byte-source.ts';
import { Damage } from './damage.ts';
import { readFrames } from './frame-reader.ts';
import { type ArchiveLimits, bloat } from './limits.ts';
import { TarReader } from './tar-reader.ts';
import { Pieces, putEntries, TAR_END } from './tar-writer.ts';
import { rulesFor } from './writer.ts';

export const MANIFEST_ENTRY = 'manifest.json';
export const SUMS_ENTRY = 'sums.json';
const READ_BYTES = 1024 * 1024;
const PIECE_BYTES = 256 * 1024;

/** The file as it is stored. */
class StoredFile {
  bytes = 0;
  readonly #path: string;
  readonly #hash = createHash('sha256');

  constructor(path: string) {
    this.#path = path;
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
  prove(record: SnapshotRecord): void {
    if (this.bytes !== record.fileBytes)
      throw new Damage(`it has ${this.bytes} bytes instead of ${record.fileBytes}`);
    if (this.#hash.digest('hex') !== record.sha256) throw new Damage('its content is not what was written');
  }
}

/** Reads all of it and looks at nothing but its sum. Rejects like `readParts`. */
export async function proveFile(path: string, record: SnapshotRecord, signal: AbortSignal): Promise<void> {
  const file = new StoredFile(path);
  for await (const _ of file.read(signal));
  file.prove(record);
}

/** The file, unpacked and held to the limits. */
class Source {
  readonly tar: TarReader;
  readonly file: StoredFile;
  readonly #limits: ArchiveLimits;
  #outBytes = 0;

  constructor(path: string, limits: ArchiveLimits, signal: AbortSignal) {
    this.#limits = limits;
    this.file = new StoredFile(path);
    this.tar = new TarReader(this.#content(new ByteSource(this.file.read(signal))));
  }

  async *#content(stored: ByteSource): AsyncGenerator<Uint8Array> {
    try {
      for await (const piece of readFrames(stored)) {
        this.#outBytes += piece.length;
        const why = bloat(this.#limits, this.#outBytes, this.file.bytes);
        if (why !== null) throw new Damage(`it holds ${why}`);
        yield piece;
      }
    } finally {
      await stored.close();
    }
  }
}

async function readJson<Schema extends z.ZodType>(
  tar: TarReader,
  name: string,
  schema: Schema,
  limits: ArchiveLimits,
): Promise<z.output<Schema>> {
  const entry = await tar.take();
  if (entry === null) throw new Damage(`it ends before ${name}`);
  if (entry.name !== name || entry.type !== 'file') throw new Damage(`${name} is not where it must be`);
  if (entry.sizeBytes > limits.manifestBytes) throw new Damage(`${name} is too large`);
  const chunks: Buffer[] = [];
  for (let chunk = await tar.content(); chunk !== null; chunk = await tar.content())
    chunks.push(Buffer.from(chunk));
  try {
    return schema.parse(JSON.parse(Buffer.concat(chunks).toString('utf8')));
  } catch {
    throw new Damage(`${name} cannot be read`);
  }
}

/** The name of an entry in its part, or null when it is not of this part. */
function nameInPart(name: string, prefix: string): string | null {
  if (name === prefix || name === `${prefix}/`) return '';
  return name.startsWith(`${prefix}/`) ? name.slice(prefix.length + 1) : null;
}

function linkInPart(target: string, prefix: string): string {
  if (target.startsWith(`${prefix}/`)) return target.slice(prefix.length + 1);
  throw new EntryRefusal('hostile', target, 'is the target of a hard link out of its part');
}

type Found = { entries: number; bytes: number };

interface Walk {
  readonly tar: TarReader;
  readonly limits: ArchiveLimits;
  /** Over all parts. */
  entries: number;
  bytes: number;
}

/** The entries of one part, checked. */
class PartWalk {
  readonly found: Found = { entries: 0, bytes: 0 };
  readonly #walk: Walk;
  readonly #prefix: string;
  readonly #rules: EntryRules;

  constructor(walk: Walk, part: SnapshotPart) {
    this.#walk = walk;
    this.#prefix = partPrefix(part);
    this.#rules = rulesFor(part);
  }

  async next(): Promise<CheckedEntry | null> {
    const { tar, limits } = this.#walk;
    const raw = await tar.peek();
    const name = raw === null ? null : nameInPart(raw.name, this.#prefix);
    if (raw === null || name === null) return null;
    await tar.take();
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

/** One part as a tar stream of its own; `done` gets what was in it once all of it was read. */
async function* partStream(
  walk: Walk,
  part: SnapshotPart,
  pieces: Pieces,
  top: string,
  done: (found: Found) => void,
): AsyncGenerator<Uint8Array> {
  const entries = new PartWalk(walk, part);
  yield* putEntries(pieces, walk.tar, top, () => entries.next());
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

/** See `SnapshotArchives.read`. Rejects with a `Damage`, an `EntryRefusal`, or what the file system or a stream says. */
export async function* readParts(
  file: string,
  record: SnapshotRecord,
  wants: (part: SnapshotPart) => boolean,
  limits: ArchiveLimits,
  signal: AbortSignal,
): AsyncGenerator<RestoredPart> {
  const source = new Source(file, limits, signal);
  const { tar } = source;
  try {
    const manifest = await readJson(tar, MANIFEST_ENTRY, snapshotManifestSchema, limits);
    if (!isDeepStrictEqual(manifest, record.manifest)) throw new Damage('its manifest is another one');
    const walk: Walk = { tar, limits, entries: 0, bytes: 0 };
    const found: Found[] = [];
    for (const [index, part] of manifest.parts.entries()) {
      if (wants(part)) {
        const pieces = new Pieces(PIECE_BYTES);
        const open = (top: string) =>
          partStream(walk, part, pieces, top, (sum) => {
            found[index] = sum;
          });
        yield { part, open, reuse: (piece) => pieces.reuse(piece) };
        if (found[index] === undefined) throw new TypeError(`${partName(part)} was not read to its end`);
      } else {
        found[index] = await new PartWalk(walk, part).skip();
      }
    }
    const sums = await readJson(tar, SUMS_ENTRY, snapshotSumsSchema, limits);
    checkSums(manifest.parts, found, sums);
    if ((await tar.take()) !== null) throw new Damage('something follows its end');
    source.file.prove(record);
  } finally {
    await tar.close();
  }
}
