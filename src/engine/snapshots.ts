/** Taking and removing snapshots. A file without a row is nothing; a row without its file cannot be. */
import { SandboxerError } from '../domain/errors.ts';
import { LIMITS } from '../domain/limits.ts';
import { isUsable } from '../domain/sandbox/lifecycle.ts';
import {
  isSnapshotId,
  SNAPSHOT_ID_BYTES,
  type SnapshotManifest,
  snapshotId,
  splitInputs,
} from '../domain/snapshot/manifest.ts';
import { type Extension, ExtensionError } from '../ports/extension.ts';
import type { Capture } from '../ports/snapshot.ts';
import type { SnapshotRecord, WrittenArchive } from '../ports/snapshot-archives.ts';
import type { SandboxRecord } from '../ports/store.ts';
import { commitChange } from './commit.ts';
import type { EngineContext } from './context.ts';
import { observe } from './observe.ts';
import { backendError } from './react.ts';
import { referenceOf } from './step.ts';

const NEVER_CAPTURED = ['memory and running processes', 'networks and their addresses'];

function ended(record: SandboxRecord): SandboxerError {
  return new SandboxerError('state_conflict', `The sandbox ${record.id} ended while it was captured.`, {
    sandboxId: record.id,
    cleanedUp: 'What had been captured was removed.',
  });
}

function isSame(current: SandboxRecord | null, record: SandboxRecord): boolean {
  return current !== null && isUsable(current.state) && current.epoch === record.epoch;
}

function manifestOf(record: SandboxRecord, id: string, nowMs: number, capture: Capture): SnapshotManifest {
  const { kept, withheld } = splitInputs(record.spec.inputs);
  return {
    format: 1,
    snapshot_id: id,
    sandbox_id: record.id,
    profile_id: record.profileId,
    profile_version: record.profileVersion,
    extension_id: record.extensionId,
    engine: capture.engine,
    created_at: new Date(nowMs).toISOString(),
    inputs: kept,
    withheld_inputs: withheld,
    services: [...capture.services],
    parts: capture.parts.map(({ part }) => part),
    not_captured: [
      ...NEVER_CAPTURED,
      ...capture.notCaptured,
      ...withheld.map((name) => `the value of the input ${name}`),
    ],
  };
}

async function touch(engine: EngineContext, record: SandboxRecord): Promise<void> {
  await commitChange(engine, record.id, (current) =>
    isSame(current, record) ? { patch: { lastActivityAtMs: engine.clock.nowMs() } } : null,
  );
}

/** A sandbox that ended by itself meanwhile may have given less than it had; one that was paused may look as if it started. */
async function refuseIfEnded(
  engine: EngineContext,
  extension: Extension,
  record: SandboxRecord,
  signal: AbortSignal,
): Promise<void> {
  const seen = await observe(engine, extension, referenceOf(record), signal);
  if (seen.kind === 'unknown')
    throw new ExtensionError('transient', `It is not known whether it still runs: ${seen.cause}`);
  if (seen.kind !== 'present' || ['stopping', 'dead'].includes(seen.state)) throw ended(record);
}

async function copyParts(
  engine: EngineContext,
  manifest: SnapshotManifest,
  captured: Capture,
  signal: AbortSignal,
): Promise<WrittenArchive> {
  try {
    const written = await engine.snapshots.write(manifest, captured.parts, signal);
    await captured.end?.();
    return written;
  } catch (error) {
    await captured.end?.().catch(() => undefined); // `error` came first
    await engine.snapshots.remove(manifest.snapshot_id);
    throw error;
  }
}

async function capture(
  engine: EngineContext,
  extension: Extension,
  record: SandboxRecord,
  keepMs: number,
  signal: AbortSignal,
): Promise<SnapshotRecord> {
  const id = snapshotId(engine.entropy.bytes(SNAPSHOT_ID_BYTES));
  const captured = await extension.snapshots!.capture(referenceOf(record), signal);
  const createdAtMs = engine.clock.nowMs();
  const manifest = manifestOf(record, id, createdAtMs, captured);
  const written = await copyParts(engine, manifest, captured, signal);
  const snapshot: SnapshotRecord = {
    ...written,
    id,
    project: record.consumer.project,
    createdAtMs,
    expiresAtMs: createdAtMs + keepMs,
    manifest,
  };
  try {
    await refuseIfEnded(engine, extension, record, signal);
    await engine.store.transaction(async (transaction) => {
      if (!isSame(await transaction.getSandbox(record.id), record)) throw ended(record);
      await transaction.insertSnapshot(snapshot);
    });
    return snapshot;
  } catch (error) {
    await engine.snapshots.remove(id);
    throw error;
  }
}

/**
 * Captures a usable sandbox while it runs. Rejects, having left nothing, when it ends meanwhile: what begins its removal is
 * committed before anything of it is touched, and a snapshot counts only if nothing had begun when it was recorded.
 */
export async function takeSnapshot(
  engine: EngineContext,
  extension: Extension,
  record: SandboxRecord,
  keepMs: number,
  signal: AbortSignal,
): Promise<SnapshotRecord> {
  const stop = new AbortController();
  const over = engine.captures.begin(record.id);
  const stopListening = engine.bus.onCommitted((commit) => {
    if (commit.record.id === record.id && !isSame(commit.record, record)) stop.abort(ended(record));
  });
  try {
    await touch(engine, record);
    const snapshot = await capture(engine, extension, record, keepMs, AbortSignal.any([signal, stop.signal]));
    await touch(engine, record);
    return snapshot;
  } catch (error) {
    if (stop.signal.aborted) throw stop.signal.reason;
    signal.throwIfAborted();
    throw error instanceof ExtensionError ? backendError(error, record.id) : error;
  } finally {
    stopListening();
    over();
  }
}

/** The row first: without it, a file is removed at the next start at the latest. */
async function removeOne(engine: EngineContext, id: string): Promise<void> {
  await engine.store.transaction((transaction) => transaction.deleteSnapshot(id));
  await engine.snapshots.remove(id);
}

/** What extensions unpacked of snapshots that are gone. A backend that fails keeps it until the next sweep. Safe to repeat. */
export async function removeSnapshotCopies({ extensions, store, log }: EngineContext): Promise<void> {
  const isKept = async (id: string) => (await store.getSnapshot(id)) !== null;
  for (const { id } of extensions.summaries()) {
    try {
      await (await extensions.load(id)).snapshots?.tidy?.(isKept);
    } catch (error) {
      log.error('copies of snapshots could not be removed', { extension_id: id, cause: String(error) });
    }
  }
}

export async function removeSnapshot(engine: EngineContext, id: string): Promise<void> {
  await removeOne(engine, id);
  await removeSnapshotCopies(engine);
}

export async function removeExpiredSnapshots(engine: EngineContext): Promise<void> {
  const expired = await engine.store.listExpiredSnapshots(engine.clock.nowMs(), LIMITS.snapshotExpiryBatch);
  for (const { id } of expired) await removeOne(engine, id);
  if (expired.length > 0) await removeSnapshotCopies(engine);
}

/** What a crash left. Only before anything else of this process works on the home. */
export async function removeSnapshotLeftovers({ snapshots, store }: EngineContext): Promise<void> {
  await snapshots.removeLeftovers(async (id) => isSnapshotId(id) && (await store.getSnapshot(id)) !== null);
}
