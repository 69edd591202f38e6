/** Where snapshots are kept as files. */
import type { SnapshotManifest, SnapshotPart, SnapshotSums } from '../domain/snapshot/manifest.ts';
import type { CapturedPart, RestoredPart } from './snapshot.ts';

export interface WrittenArchive {
  readonly fileBytes: number;
  /** Of the file, as hexadecimal digits. */
  readonly sha256: string;
  readonly sums: SnapshotSums;
}

export interface SnapshotRecord extends WrittenArchive {
  readonly id: string;
  readonly project: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  readonly manifest: SnapshotManifest;
}

export interface StoredSnapshot {
  readonly record: SnapshotRecord;
  /** What the manifest's `based_on` names; null where it names none. */
  readonly base: SnapshotRecord | null;
}

export interface SnapshotArchives {
  /**
   * Streams the parts into one file, which is there and on the disk when this resolves; when it rejects, nothing is.
   * `store_full` where the disk is; `snapshot_too_large` over a limit; else what the parts reject with.
   */
  write(
    manifest: SnapshotManifest,
    parts: readonly CapturedPart[],
    signal: AbortSignal,
  ): Promise<WrittenArchive>;
  /** See `RestoreSource.read`. Rejects with `snapshot_corrupt` for anything else than what was written. */
  read(
    stored: StoredSnapshot,
    wants: (part: SnapshotPart) => boolean,
    signal: AbortSignal,
  ): AsyncIterable<RestoredPart>;
  /** Rejects with `snapshot_corrupt` unless the file, and that of the base, is, byte for byte, what was written. */
  prove(stored: StoredSnapshot, signal: AbortSignal): Promise<void>;
  /** Safe to repeat. */
  remove(id: string): Promise<void>;
  /** Removes what a crash left: drafts, and files of which nothing is known. Only while nobody writes. */
  removeLeftovers(isKnown: (id: string) => Promise<boolean>): Promise<void>;
}
