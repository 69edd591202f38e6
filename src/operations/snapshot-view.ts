import { z } from 'zod';
import { SandboxerError } from '../domain/errors.ts';
import { isSnapshotId, snapshotManifestSchema, snapshotPartSchema } from '../domain/snapshot/manifest.ts';
import type { SnapshotRecord } from '../ports/snapshot-archives.ts';
import type { OperationContext } from './operation.ts';

const sizes = {
  entries: z.number().int().describe('Files, directories and links'),
  bytes: z.number().int().describe('Of the content of files'),
};

/** A snapshot, the same on every face. Times are ISO 8601 in UTC, sizes are in bytes. */
export const snapshotSchema = z.object({
  snapshot_id: z.string(),
  project: z.string(),
  ...snapshotManifestSchema.omit({ format: true, snapshot_id: true, parts: true }).shape,
  expires_at: z.string(),
  archive_bytes: z.number().int().describe('Of the compressed archive'),
  sha256: z.string().describe('Of the compressed archive'),
  parts: z.array(z.intersection(snapshotPartSchema, z.object(sizes))),
});

export type SnapshotView = z.output<typeof snapshotSchema>;

export function snapshotView({ manifest, sums, ...record }: SnapshotRecord): SnapshotView {
  const { format: _format, parts, not_captured, ...described } = manifest;
  const leftOut = sums.parts.flatMap(({ left_out }) => left_out);
  return {
    ...described,
    project: record.project,
    expires_at: new Date(record.expiresAtMs).toISOString(),
    archive_bytes: record.fileBytes,
    sha256: record.sha256,
    parts: parts.map((part, index) => {
      const { entries, bytes } = sums.parts[index]!;
      return { ...part, entries, bytes };
    }),
    not_captured: [...not_captured, ...leftOut],
  };
}

/** The record, if the caller may know of it. Another project's, and one whose time is over, look like a missing one. */
export async function visibleSnapshot(
  { engine, principal }: OperationContext,
  id: string,
): Promise<SnapshotRecord> {
  const { store, clock } = engine.context;
  const record = isSnapshotId(id) ? await store.getSnapshot(id) : null;
  const isTheirs = principal.project === null || record?.project === principal.project;
  if (record !== null && isTheirs && record.expiresAtMs > clock.nowMs()) return record;
  throw new SandboxerError('not_found', `There is no snapshot ${id.slice(0, 40)}.`, {
    nextStep: 'List yours with: sandboxer snapshots list',
  });
}
