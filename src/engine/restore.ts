import { SandboxerError } from '../domain/errors.ts';
import { partName, type SnapshotPartKind } from '../domain/snapshot/manifest.ts';
import type { RestoredPart, RestoreSource } from '../ports/snapshot.ts';
import type { SnapshotRecord, StoredSnapshot } from '../ports/snapshot-archives.ts';
import type { RestoredFrom, SandboxRecord, StoreReader } from '../ports/store.ts';
import type { StepInput } from './step.ts';

export interface Restoring {
  readonly source: RestoreSource;
  readonly restoredFrom: RestoredFrom;
  /** What the archive itself rejected with, however the extension told it. */
  failure(): unknown;
  /** Rejects when the archive is not what was written: then nothing that was found in it means anything. */
  prove(signal: AbortSignal): Promise<void>;
}

function leftOut(
  { manifest }: SnapshotRecord,
  kinds: readonly SnapshotPartKind[],
  { extensionId, spec }: SandboxRecord,
): readonly string[] {
  const parts = manifest.parts
    .filter(({ kind }) => !kinds.includes(kind))
    .map((part) => `${partName(part)}: ${extensionId} has no such thing`);
  const inputs = manifest.withheld_inputs
    .filter((name) => spec.inputs[name] === undefined)
    .map((name) => `input ${name}: its value is not stored; give it with --input`);
  return [...parts, ...inputs];
}

/** A snapshot and what it builds on; null when it is gone. What it builds on never goes before it. */
export async function storedSnapshot(store: StoreReader, id: string): Promise<StoredSnapshot | null> {
  const record = await store.getSnapshot(id);
  if (record === null) return null;
  const basedOn = record.manifest.based_on;
  if (basedOn === undefined) return { record, base: null };
  const base = await store.getSnapshotFile(basedOn);
  return base === null ? null : { record, base };
}

/** What the sandbox is to begin with, or null for one that begins with no snapshot. */
export async function openRestore({ engine, extension, record }: StepInput): Promise<Restoring | null> {
  if (record.restoredFrom === null) return null;
  const { snapshotId } = record.restoredFrom;
  const stored = await storedSnapshot(engine.store, snapshotId);
  if (stored === null) {
    throw new SandboxerError('not_found', `The snapshot ${snapshotId} that it begins with is gone.`, {
      nextStep: 'Restore another one: sandboxer snapshots list',
    });
  }
  const { record: snapshot } = stored;
  const kinds = extension.snapshots?.kinds ?? [];
  const wants = ({ kind }: { readonly kind: SnapshotPartKind }) => kinds.includes(kind);
  let failure: unknown = null;
  async function* noted<Item>(from: AsyncIterable<Item>, signal: AbortSignal): AsyncGenerator<Item> {
    try {
      yield* from;
    } catch (error) {
      if (!signal.aborted) failure = error;
      throw error;
    }
  }
  async function* read(signal: AbortSignal): AsyncGenerator<RestoredPart> {
    const parts = engine.snapshots.read(stored!, wants, signal);
    for await (const part of noted(parts, signal)) {
      yield { ...part, open: (top) => pieces(noted(part.open(top), signal)) };
      engine.crashPoints.reached('restore.read.part');
    }
    engine.crashPoints.reached('restore.read.proven');
  }
  async function* pieces(content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const piece of content) {
      yield piece;
      engine.crashPoints.reached('restore.read.piece');
    }
  }
  return {
    source: { snapshotId, parts: snapshot.manifest.parts.filter(wants), read },
    restoredFrom: { ...record.restoredFrom, leftOut: leftOut(snapshot, kinds, record) },
    failure: () => failure,
    prove: (signal) => engine.snapshots.prove(stored, signal),
  };
}
