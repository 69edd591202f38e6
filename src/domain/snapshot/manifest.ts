/** What a snapshot says about itself. The manifest comes first in its archive, the sums last. */
import { z } from 'zod';
import { base32 } from '../ids.ts';

const SNAPSHOT_ID = /^snap-[0-9a-hjkmnp-tv-z]{12}$/;
export const SNAPSHOT_ID_BYTES = 12;
/** Every Compose and every engine takes these. */
const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;

export function snapshotId(randomBytes: Uint8Array): string {
  return `snap-${base32(randomBytes.subarray(0, SNAPSHOT_ID_BYTES))}`;
}

export function isSnapshotId(text: string): boolean {
  return SNAPSHOT_ID.test(text);
}

const volumePartSchema = z.strictObject({
  kind: z.literal('volume'),
  /** As the Compose file calls it. */
  name: z.string().regex(VOLUME_NAME),
  /** One that mounts it. */
  service: z.string().min(1).max(128),
});

export const snapshotPartSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('workspace') }),
  volumePartSchema,
]);

/** One thing that is captured and restored by itself. */
export type SnapshotPart = z.output<typeof snapshotPartSchema>;
export type SnapshotPartKind = SnapshotPart['kind'];

export const snapshotManifestSchema = z.strictObject({
  format: z.literal(1),
  snapshot_id: z.string().regex(SNAPSHOT_ID),
  /** The whole snapshot to whose workspace this one adds what changed; missing in a whole one. */
  based_on: z.string().regex(SNAPSHOT_ID).optional(),
  sandbox_id: z.string().max(80),
  profile_id: z.string().max(120),
  profile_version: z.string().max(40),
  extension_id: z.string().max(120),
  /** Of the backend, such as `docker`. */
  engine: z.string().max(120),
  created_at: z.string().max(40),
  /** Without the values of `env.*`. */
  inputs: z.record(z.string().max(120), z.string()),
  /** Names of inputs whose values may be secrets, and were not stored. */
  withheld_inputs: z.array(z.string().max(120)),
  services: z.array(z.string().max(128)),
  parts: z.array(snapshotPartSchema).max(1_000),
  not_captured: z.array(z.string().max(1_200)),
});

export type SnapshotManifest = z.output<typeof snapshotManifestSchema>;

export const snapshotSumsSchema = z.strictObject({
  /** In the order of the manifest's parts; of what this archive itself holds of each. */
  parts: z.array(
    z.strictObject({
      entries: z.number().int().nonnegative(),
      /** Of the content of files. */
      bytes: z.number().int().nonnegative(),
      /** Sentences: what of the part an archive does not hold. */
      left_out: z.array(z.string().max(1_000)),
    }),
  ),
});

export type SnapshotSums = z.output<typeof snapshotSumsSchema>;

/** Where a part lies in the archive. */
export function partPrefix(part: SnapshotPart): string {
  return part.kind === 'workspace' ? 'workspace' : `volumes/${part.name}`;
}

/** As a person reads it. */
export function partName(part: SnapshotPart): string {
  return part.kind === 'workspace' ? 'the workspace' : `volume ${part.name}`;
}

/** Inputs that may go into a manifest, and the names of those that may not. */
export function splitInputs(inputs: Readonly<Record<string, string>>): {
  readonly kept: Record<string, string>;
  readonly withheld: string[];
} {
  const entries = Object.entries(inputs);
  return {
    kept: Object.fromEntries(entries.filter(([name]) => !name.startsWith('env.'))),
    withheld: entries.map(([name]) => name).filter((name) => name.startsWith('env.')),
  };
}
