import { LIMITS } from '../../domain/limits.ts';

export interface ArchiveLimits {
  readonly entries: number;
  /** Of the content of files, and of everything that comes out of an archive. */
  readonly bytes: number;
  /** How many times larger than the archive its content may be, once it is over `ratioFreeBytes`. */
  readonly ratio: number;
  readonly ratioFreeBytes: number;
  readonly manifestBytes: number;
  /** Of the names of what did not change. */
  readonly namesBytes: number;
}

export const ARCHIVE_LIMITS: ArchiveLimits = {
  entries: LIMITS.snapshotEntries,
  bytes: LIMITS.snapshotBytes,
  ratio: LIMITS.snapshotRatio,
  ratioFreeBytes: LIMITS.snapshotRatioFreeBytes,
  manifestBytes: LIMITS.snapshotManifestBytes,
  namesBytes: LIMITS.snapshotNamesBytes,
};

/** Headers and padding, beside the content of files. */
const ENTRY_OVERHEAD_BYTES = 16 * 1024;

/** Whether so many bytes may come out of so many. */
export function bloat(limits: ArchiveLimits, outBytes: number, inBytes: number): string | null {
  if (outBytes > limits.bytes + limits.entries * ENTRY_OVERHEAD_BYTES)
    return `more than ${limits.bytes} bytes`;
  if (outBytes > limits.ratioFreeBytes && outBytes > inBytes * limits.ratio)
    return `more than ${limits.ratio} times the size of the archive`;
  return null;
}
