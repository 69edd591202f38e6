/** How long a restore may take: a create's time is enough for a small snapshot and not for every large one. */
import { LIMITS } from '../limits.ts';
import type { SnapshotSums } from './manifest.ts';

/** What an entry costs beside its content, such as a file made on a slow disk. */
const ENTRY_BYTES = 4 * 1024;

/** Milliseconds beyond the time of any other create, for the archives that are read. */
export function restoreExtraMs(archives: readonly SnapshotSums[]): number {
  const parts = archives.flatMap((archive) => archive.parts);
  const bytes = parts.reduce((sum, part) => sum + part.bytes + part.entries * ENTRY_BYTES, 0);
  const beyond = Math.max(0, bytes - LIMITS.restoreBytesInProvisionTime);
  return Math.ceil((beyond * 1_000) / LIMITS.restoreBytesPerSecondMin);
}
