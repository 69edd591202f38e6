/** The optional part of the extension contract that captures what a sandbox holds and puts it back. */
import type { SnapshotPart, SnapshotPartKind } from '../domain/snapshot/manifest.ts';
import type { Reference } from './extension.ts';

export type { SnapshotPart, SnapshotPartKind };

export interface CapturedPart {
  readonly part: SnapshotPart;
  /**
   * The content as a tar stream whose first entry is the top directory, read once and to its end, while the sandbox runs
   * on. Rejects (ExtensionError; here, while it is read, or from `end`) when the content cannot be had completely.
   */
  open(signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /**
   * Whether it is only what changed since `CaptureRequest.baseId`, which only a workspace may be. Then the stream's first entry is
   * a file with the paths of what did not change, relative, each ended by a NUL, with a slash before it where that is a directory with
   * all that was in it; the top directory follows, then what changed and all directories that lead to it. The paths of both, and the
   * entries of the base, are in the order of `compareInTree`.
   */
  readonly isChanges?: boolean;
}

export interface CaptureRequest {
  /** Of the snapshot to be. */
  readonly snapshotId: string;
  /** A whole snapshot of the same sandbox, which may be built on; null: everything is captured. */
  readonly baseId: string | null;
}

export interface Capture {
  /** What runs the sandbox, such as `docker`. */
  readonly engine: string;
  readonly services: readonly string[];
  /** They are opened one after the other, in this order. The workspace comes first. */
  readonly parts: readonly CapturedPart[];
  /** Sentences: what of this sandbox is in no part. */
  readonly notCaptured: readonly string[];
  /**
   * Optional: whether the sandbox has run all the time since `capture`, asked once all parts were read. Only where it says so for
   * certain the core does without `observe`, which may take longer.
   */
  ranThrough?(signal: AbortSignal): Promise<boolean>;
  /**
   * Called once all parts were read, or will not be. Lets go of what was held for the capture; rejects (ExtensionError) when it
   * could not be held until now, so that the parts are not of one moment, or when a part was not complete. After an abort it may
   * reject with anything.
   */
  end?(): Promise<void>;
}

/** Optional: `capture` reads, `ProvisionRequest.restore` puts back. Safe to repeat; the sandbox goes on running. */
export interface Snapshots {
  /** The kinds that this extension captures, and that it can restore whoever captured them. */
  readonly kinds: readonly SnapshotPartKind[];
  /** Where it cannot tell for certain what changed since the base, everything is captured. */
  capture(reference: Reference, request: CaptureRequest, signal: AbortSignal): Promise<Capture>;
  /**
   * Optional: for an extension that keeps content of a `RestoreSource` for the next one. Removes what is needed by no sandbox
   * and whose snapshot is not kept any more. Safe to repeat.
   */
  tidy?(isKept: (snapshotId: string) => Promise<boolean>): Promise<void>;
}

export interface RestoredPart {
  readonly part: SnapshotPart;
  /**
   * The content as a tar stream, once. The name of its top directory is `top`, or `.` where that is empty. It was
   * checked: no entry climbs out, no link leads out, and there is nothing but
   * directories, files, links and hard links. Everything in a workspace belongs to the sandbox's user, whatever the numbers say; in a volume the
   * numbers mean what they meant inside.
   */
  open(top: string): AsyncIterable<Uint8Array>;
  /** Takes back a piece of that stream that nobody looks at any more, to be filled again. Nobody has to give any back. */
  reuse(piece: Uint8Array): void;
}

/** What a sandbox begins with, instead of the input `repo`. */
export interface RestoreSource {
  /** Of the snapshot, whose content never changes. */
  readonly snapshotId: string;
  /** The parts that will come, all of kinds that the extension can restore. */
  readonly parts: readonly SnapshotPart[];
  /**
   * Each part in order; its stream must be read to the end before the next one is asked for. The last step of the
   * iteration is the proof that all of it was what had been captured: nothing of a sandbox may be started before it ended.
   * What it rejects with passes through `provision`. May be called again, from the beginning, when `provision` is repeated.
   */
  read(signal: AbortSignal): AsyncIterable<RestoredPart>;
}
