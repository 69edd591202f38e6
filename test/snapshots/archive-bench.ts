/** Archives as files, honest and not, without any sandbox. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { zstdCompressSync } from 'node:zlib';
import { extract, type Pack, pack } from 'tar-stream';
import { createSnapshotArchives } from '../../src/adapters/snapshot-archives/archives.ts';
import type { ArchiveLimits } from '../../src/adapters/snapshot-archives/limits.ts';
import type { SnapshotManifest, SnapshotSums } from '../../src/domain/snapshot/manifest.ts';
import type { CapturedPart } from '../../src/ports/snapshot.ts';
import type { SnapshotArchives, SnapshotRecord } from '../../src/ports/snapshot-archives.ts';

export const ID = 'snap-000000000001';
export const NO_ABORT = new AbortController().signal;

export type Header = Parameters<Pack['entry']>[0];
export type Content = readonly (readonly [header: Header, text?: string])[];

const manifest = (parts: SnapshotManifest['parts']): SnapshotManifest => ({
  format: 1,
  snapshot_id: ID,
  sandbox_id: 'sandbox',
  profile_id: 'profile.local',
  profile_version: '1.0.0',
  extension_id: 'ext.local',
  engine: 'test',
  created_at: '2026-01-01T00:00:00.000Z',
  inputs: {},
  withheld_inputs: [],
  services: [],
  parts,
  not_captured: [],
});

export const WORKSPACE: SnapshotManifest['parts'] = [{ kind: 'workspace' }];
export const TOP: Content[number] = [{ name: 'workspace/', type: 'directory' }];

/** Of an archive of a workspace alone. */
function sumsOf(content: Content): SnapshotSums {
  const entries = content.filter(([{ name }]) => name.startsWith('workspace'));
  const bytes = entries.reduce((sum, [, text]) => sum + (text?.length ?? 0), 0);
  return { parts: [{ entries: entries.length, bytes, left_out: [] }] };
}

export function tarOf(content: Content): Promise<Buffer> {
  const archive = pack();
  for (const [header, text] of content) {
    if (header.type === undefined || header.type === 'file') archive.entry({ ...header }, text ?? '');
    else archive.entry({ ...header }).end(undefined);
  }
  archive.finalize();
  return buffer(archive as AsyncIterable<Uint8Array>);
}

/** Name, type, mode, owner, what it links to, and text of every entry. */
export async function entriesOf(tar: AsyncIterable<Uint8Array>): Promise<Record<string, unknown>[]> {
  const reader = extract();
  reader.end(await buffer(tar));
  const entries: Record<string, unknown>[] = [];
  for await (const entry of reader) {
    const { name, type, mode, uid, gid, linkname, pax } = entry.header;
    const text = (await buffer(entry as AsyncIterable<Uint8Array>)).toString('latin1');
    entries.push({ name, type, mode, uid, gid, linkname, text, pax });
  }
  return entries;
}

export async function* chunked(bytes: Uint8Array, size = 1_000): AsyncIterable<Uint8Array> {
  for (let offset = 0; offset < bytes.length; offset += size) yield bytes.subarray(offset, offset + size);
}

export class ArchiveBench implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'sbx-archives-'));
  readonly archives: SnapshotArchives;

  constructor(limits?: ArchiveLimits) {
    this.archives = createSnapshotArchives(this.directory, limits);
  }

  get file(): string {
    return join(this.directory, `${ID}.tar.zst`);
  }

  /** As captured from a backend that gives these tar streams, in chunks of that size. */
  async capture(
    parts: readonly { readonly part: SnapshotManifest['parts'][number]; readonly tar: Uint8Array }[],
    signal = NO_ABORT,
    chunkBytes = 1_000,
  ): Promise<SnapshotRecord> {
    const captured = parts.map(
      ({ part, tar }): CapturedPart => ({
        part,
        open: async () => chunked(tar, chunkBytes),
      }),
    );
    const own = manifest(parts.map(({ part }) => part));
    const written = await this.archives.write(own, captured, signal);
    return { ...written, id: ID, project: 'default', createdAtMs: 0, expiresAtMs: 1, manifest: own };
  }

  /** A file that says and holds whatever is given, with the hash that belongs to it. */
  async forge(
    content: Content,
    options: {
      readonly parts?: SnapshotManifest['parts'];
      readonly sums?: SnapshotSums;
      readonly whole?: boolean;
      readonly id?: string;
      readonly basedOn?: string;
    } = {},
  ): Promise<SnapshotRecord> {
    const { id = ID, basedOn } = options;
    const own = {
      ...manifest(options.parts ?? WORKSPACE),
      snapshot_id: id,
      ...(basedOn === undefined ? {} : { based_on: basedOn }),
    };
    const sums = options.sums ?? sumsOf(content);
    const all: Content = options.whole
      ? content
      : [
          [{ name: 'manifest.json' }, JSON.stringify(own)],
          ...content,
          [{ name: 'sums.json' }, JSON.stringify(sums)],
        ];
    return this.plant(zstdCompressSync(await tarOf(all)), own, sums);
  }

  plant(bytes: Uint8Array, own = manifest(WORKSPACE), sums: SnapshotSums = { parts: [] }): SnapshotRecord {
    mkdirSync(this.directory, { recursive: true });
    writeFileSync(join(this.directory, `${own.snapshot_id}.tar.zst`), bytes);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    return {
      id: own.snapshot_id,
      project: 'default',
      createdAtMs: 0,
      expiresAtMs: 1,
      manifest: own,
      sums,
      sha256,
      fileBytes: bytes.length,
    };
  }

  /** Everything of every part, or the rejection. */
  async read(record: SnapshotRecord): Promise<Record<string, unknown>[][]> {
    const parts: Record<string, unknown>[][] = [];
    for await (const { open } of this.archives.read({ record, base: null }, () => true, NO_ABORT))
      parts.push(await entriesOf(open('')));
    return parts;
  }

  manifest(parts = WORKSPACE): SnapshotManifest {
    return manifest(parts);
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
