/** THE reader of archives: every restore goes through it. Nothing it is given is believed. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { isDeepStrictEqual } from 'node:util';
import { createZstdDecompress } from 'node:zlib';
import { extract } from 'tar-stream';
import type { z } from 'zod';
import { EntryRefusal } from '../../domain/snapshot/entry-rules.ts';
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
import {
  bytesOf,
  EntryQueue,
  newArchive,
  PIECE_BYTES,
  putEntry,
  rawEntry,
  type TarEntry,
} from './entries.ts';
import { type ArchiveLimits, bloat } from './limits.ts';
import { rulesFor } from './writer.ts';

export const MANIFEST_ENTRY = 'manifest.json';
export const SUMS_ENTRY = 'sums.json';

/** Why an archive is not what was written; a part of a sentence. */
export class Damage extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'Damage';
  }
}

/** The file, hashed, unpacked and held to the limits. */
class Source {
  readonly reader = extract();
  readonly fed: Promise<void>;
  readonly #hash = createHash('sha256');
  #inBytes = 0;
  #outBytes = 0;

  constructor(file: string, limits: ArchiveLimits, signal: AbortSignal) {
    const count = new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        this.#hash.update(chunk);
        this.#inBytes += chunk.length;
        done(null, chunk);
      },
    });
    const hold = new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        this.#outBytes += chunk.length;
        const why = bloat(limits, this.#outBytes, this.#inBytes);
        if (why === null) done(null, chunk);
        else done(new Damage(`it holds ${why}`));
      },
    });
    const bytes: Readable = createReadStream(file, { highWaterMark: PIECE_BYTES });
    this.fed = pipeline(bytes, count, createZstdDecompress({ chunkSize: PIECE_BYTES }), hold, this.reader, {
      signal,
    });
    this.fed.catch(() => undefined); // told by `finish`, or by the entries
  }

  async finish(record: SnapshotRecord): Promise<void> {
    await this.fed;
    if (this.#inBytes !== record.fileBytes)
      throw new Damage(`it has ${this.#inBytes} bytes instead of ${record.fileBytes}`);
    if (this.#hash.digest('hex') !== record.sha256) throw new Damage('its content is not what was written');
  }

  close(): void {
    this.reader.destroy();
  }
}

async function readJson<Schema extends z.ZodType>(
  queue: EntryQueue,
  name: string,
  schema: Schema,
  limits: ArchiveLimits,
): Promise<z.output<Schema>> {
  const entry = await queue.take();
  if (entry === null) throw new Damage(`it ends before ${name}`);
  const { header } = entry;
  if (header.name !== name || header.type !== 'file') throw new Damage(`${name} is not where it must be`);
  if ((header.size ?? 0) > limits.manifestBytes) throw new Damage(`${name} is too large`);
  const chunks: Uint8Array[] = [];
  for await (const chunk of entry as AsyncIterable<Uint8Array>) chunks.push(chunk);
  try {
    return schema.parse(JSON.parse(Buffer.concat(chunks).toString('utf8')));
  } catch {
    throw new Damage(`${name} cannot be read`);
  }
}

/** The name of the entry in its part, or null when it is not of this part. */
function nameInPart(entry: TarEntry, prefix: string): string | null {
  const { name } = entry.header;
  if (name === prefix || name === `${prefix}/`) return '';
  return name.startsWith(`${prefix}/`) ? name.slice(prefix.length + 1) : null;
}

interface Walk {
  readonly queue: EntryQueue;
  readonly limits: ArchiveLimits;
  /** Over all parts. */
  entries: number;
  bytes: number;
}

/** The entries of one part, checked, each given to `use`, which reads its content. */
async function walkPart(
  walk: Walk,
  part: SnapshotPart,
  use: (entry: ReturnType<ReturnType<typeof rulesFor>['check']>, content: TarEntry) => Promise<void>,
): Promise<{ entries: number; bytes: number }> {
  const prefix = partPrefix(part);
  const rules = rulesFor(part);
  const found = { entries: 0, bytes: 0 };
  for (let next = await walk.queue.peek(); next !== null; next = await walk.queue.peek()) {
    const name = nameInPart(next, prefix);
    if (name === null) break;
    const content = (await walk.queue.take())!;
    const raw = rawEntry(content);
    const target = raw.type === 'link' ? linkInPart(raw.linkTarget ?? '', prefix) : raw.linkTarget;
    const entry = rules.check({ ...raw, name, linkTarget: target });
    found.entries += 1;
    found.bytes += entry.sizeBytes;
    walk.entries += 1;
    walk.bytes += entry.sizeBytes;
    if (walk.entries > walk.limits.entries)
      throw new Damage(`it holds more than ${walk.limits.entries} entries`);
    if (walk.bytes > walk.limits.bytes) throw new Damage(`it holds more than ${walk.limits.bytes} bytes`);
    await use(entry, content);
  }
  return found;
}

function linkInPart(target: string, prefix: string): string {
  if (target.startsWith(`${prefix}/`)) return target.slice(prefix.length + 1);
  throw new EntryRefusal('hostile', target, 'is the target of a hard link out of its part');
}

type Found = { entries: number; bytes: number };

/** One part as a tar stream of its own; `done` gets what was in it once all of it was read. */
async function* partStream(
  walk: Walk,
  part: SnapshotPart,
  top: string,
  done: (found: Found) => void,
): AsyncGenerator<Uint8Array> {
  const archive = newArchive();
  const filling = walkPart(walk, part, (entry, content) => putEntry(archive, entry, top, content)).then(
    (found) => {
      archive.finalize();
      return found;
    },
    (error: Error) => {
      archive.destroy(error);
      throw error;
    },
  );
  filling.catch(() => undefined); // told below, after what was in the stream
  yield* bytesOf(archive);
  done(await filling);
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
  try {
    const queue = new EntryQueue(source.reader);
    const manifest = await readJson(queue, MANIFEST_ENTRY, snapshotManifestSchema, limits);
    if (!isDeepStrictEqual(manifest, record.manifest)) throw new Damage('its manifest is another one');
    const walk: Walk = { queue, limits, entries: 0, bytes: 0 };
    const found: Found[] = [];
    for (const [index, part] of manifest.parts.entries()) {
      if (wants(part)) {
        const open = (top: string) =>
          partStream(walk, part, top, (sum) => {
            found[index] = sum;
          });
        yield { part, open };
        if (found[index] === undefined) throw new TypeError(`${partName(part)} was not read to its end`);
      } else {
        found[index] = await walkPart(walk, part, async (_entry, content) => void content.resume());
      }
    }
    const sums = await readJson(queue, SUMS_ENTRY, snapshotSumsSchema, limits);
    checkSums(manifest.parts, found, sums);
    if ((await queue.take()) !== null) throw new Damage('something follows its end');
    await source.finish(record);
  } finally {
    source.close();
  }
}
