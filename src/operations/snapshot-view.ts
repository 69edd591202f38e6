import { z } from 'zod';
import { SandboxerError } from '../domain/errors.ts';
import { isSnapshotId, snapshotManifestSchema, snapshotPartSchema } from '../domain/snapshot/manifest.ts';
import { storedSnapshot } from '../engine/restore.ts';
import type { SnapshotRecord, StoredSnapshot } from '../ports/snapshot-archives.ts';
import type { OperationContext } from './operation.ts';

const sizes = {
  entries: z
    .number()
    .int()
    .describe('Files, directories and links; of what changed where it builds on another one'),
  bytes: z.number().int().describe('Of the content of these files'),
};

/** A snapshot, the same on every face. Times are ISO 8601 in UTC, sizes are in bytes. */
export const snapshotSchema = z.object({
  snapshot_id: z.string(),
  project: z.string(),
  based_on: z
    .string()
    .nullable()
    .describe('The whole snapshot that this one adds what changed to; null: it is a whole one'),
  ...snapshotManifestSchema.omit({ format: true, snapshot_id: true, parts: true, based_on: true }).shape,
  expires_at: z.string(),
  archive_bytes: z.number().int().describe('Of the compressed archive'),
  sha256: z.string().describe('Of the compressed archive'),
  parts: z.array(z.intersection(snapshotPartSchema, z.object(sizes))),
});

export type SnapshotView = z.output<typeof snapshotSchema>;

export function snapshotView({ manifest, sums, ...record }: SnapshotRecord): SnapshotView {
  const { format: _format, parts, not_captured, based_on = null, ...described } = manifest;
  const leftOut = sums.parts.flatMap(({ left_out }) => left_out);
  return {
    ...described,
    based_on,
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

/** The snapshot, if the caller may know of it. Another project's, and one whose time is over, look like a missing one. */
export async function visibleSnapshot(
  { engine, principal }: OperationContext,
  id: string,
): Promise<StoredSnapshot> {
  const { store, clock } = engine.context;
  const stored = isSnapshotId(id) ? await storedSnapshot(store, id) : null;
  const isTheirs = principal.project === null || stored?.record.project === principal.project;
  if (stored !== null && isTheirs && stored.record.expiresAtMs > clock.nowMs()) return stored;
  throw new SandboxerError('not_found', `There is no snapshot ${id.slice(0, 40)}.`, {
    nextStep: 'List yours with: sandboxer snapshots list',
  });
}
