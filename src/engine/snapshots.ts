/** Taking snapshots. A file without a row is nothing; a row without its file, or without what it builds on, cannot be. */
import { SandboxerError } from '../domain/errors.ts';
import { isUsable } from '../domain/sandbox/lifecycle.ts';
import { isWorthBuildingOn } from '../domain/snapshot/base.ts';
import {
  SNAPSHOT_ID_BYTES,
  type SnapshotManifest,
  snapshotId,
  splitInputs,
} from '../domain/snapshot/manifest.ts';
import { type Extension, ExtensionError } from '../ports/extension.ts';
import type { Capture, CapturedPart } from '../ports/snapshot.ts';
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

/** What the base left out is left out here too where it did not change. */
function leftOutBefore(base: SnapshotRecord | null): readonly string[] {
  const [workspace] = base?.sums.parts ?? [];
  return (workspace?.left_out ?? []).map((sentence) => `unless it changed since ${base?.id}: ${sentence}`);
}

function manifestOf(
  record: SandboxRecord,
  { id, base }: { readonly id: string; readonly base: SnapshotRecord | null },
  nowMs: number,
  capture: Capture,
): SnapshotManifest {
  const { kept, withheld } = splitInputs(record.spec.inputs);
  return {
    format: 1,
    snapshot_id: id,
    ...(base === null ? {} : { based_on: base.id }),
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
      ...leftOutBefore(base),
    ],
  };
}

async function touch(engine: EngineContext, record: SandboxRecord): Promise<void> {
  await commitChange(engine, record.id, (current) =>
    isSame(current, record) ? { patch: { lastActivityAtMs: engine.clock.nowMs() } } : null,
  );
}

interface Order {
  readonly engine: EngineContext;
  readonly extension: Extension;
  readonly record: SandboxRecord;
  readonly keepMs: number;
  readonly signal: AbortSignal;
}

/** A sandbox that ended by itself meanwhile may have given less than it had; one that was paused may look as if it started. */
async function refuseIfEnded({ engine, extension, record, signal }: Order, captured: Capture): Promise<void> {
  if (await captured.ranThrough?.(signal).catch(() => false)) return; // else `observe` tells more
  const seen = await observe(engine, extension, referenceOf(record), signal);
  if (seen.kind === 'unknown')
    throw new ExtensionError('transient', `It is not known whether it still runs: ${seen.cause}`);
  if (seen.kind !== 'present' || ['stopping', 'dead'].includes(seen.state)) throw ended(record);
}

async function copyParts(
  engine: EngineContext,
  manifest: SnapshotManifest,
  captured: Capture,
  parts: readonly CapturedPart[],
  signal: AbortSignal,
): Promise<WrittenArchive> {
  try {
    const written = await engine.snapshots.write(manifest, parts, signal);
    await captured.end?.();
    return written;
  } catch (error) {
    await captured.end?.().catch(() => undefined); // `error` came first
    await engine.snapshots.remove(manifest.snapshot_id);
    throw error;
  }
}

/** The parts, with `then` called as soon as the last of them was read to its end. */
function whenRead(parts: readonly CapturedPart[], then: () => void): readonly CapturedPart[] {
  async function* told(content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    yield* content;
    then();
  }
  const last = parts.at(-1);
  if (last === undefined) return parts;
  const { part, isChanges = false } = last;
  return [...parts.slice(0, -1), { part, isChanges, open: async (stop) => told(await last.open(stop)) }];
}

/** The snapshot that was to be built on was deleted meanwhile. */
class BaseGone extends Error {}

/** What it may build on, or null where a whole one is due. */
async function baseFor(engine: EngineContext, record: SandboxRecord): Promise<SnapshotRecord | null> {
  const found = await engine.store.findSnapshotBase(record.id, engine.clock.nowMs());
  if (found === null || !isWorthBuildingOn(found.base.fileBytes, found.lastChangesBytes)) return null;
  return found.base;
}

/** A snapshot counts from here on, and the sandbox was active. False when what it builds on is gone. */
async function recordSnapshot(
  engine: EngineContext,
  record: SandboxRecord,
  snapshot: SnapshotRecord,
): Promise<boolean> {
  let isRecorded = false;
  const decide = (current: SandboxRecord) => {
    if (!isSame(current, record)) throw ended(record);
    return { patch: { lastActivityAtMs: engine.clock.nowMs() } };
  };
  await commitChange(engine, record.id, decide, {
    async alongside(transaction) {
      isRecorded = await transaction.insertSnapshot(snapshot);
      return isRecorded;
    },
  });
  return isRecorded;
}

/** Rejects with `BaseGone` when `base` went meanwhile. */
async function capture(order: Order, base: SnapshotRecord | null): Promise<SnapshotRecord> {
  const { engine, extension, record, signal } = order;
  const id = snapshotId(engine.entropy.bytes(SNAPSHOT_ID_BYTES));
  const request = { snapshotId: id, baseId: base?.id ?? null };
  const captured = await extension.snapshots!.capture(referenceOf(record), request, signal);
  const createdAtMs = engine.clock.nowMs();
  const usedBase = captured.parts.some(({ isChanges }) => isChanges) ? base : null;
  const manifest = manifestOf(record, { id, base: usedBase }, createdAtMs, captured);
  /** Asked while what was read is still being written: that takes nothing from the sandbox any more. */
  let lives: Promise<void> | null = null;
  const parts = whenRead(captured.parts, () => {
    lives = refuseIfEnded(order, captured);
    lives.catch(() => undefined); // told below
  });
  const written = await copyParts(engine, manifest, captured, parts, signal);
  const snapshot: SnapshotRecord = {
    ...written,
    id,
    project: record.consumer.project,
    createdAtMs,
    expiresAtMs: createdAtMs + order.keepMs,
    manifest,
  };
  try {
    await (lives ?? refuseIfEnded(order, captured));
    if (!(await recordSnapshot(engine, record, snapshot))) throw new BaseGone();
    return snapshot;
  } catch (error) {
    await engine.snapshots.remove(id);
    throw error;
  }
}

/** On the newest whole one where it may, else a whole one. */
async function captureOnBase(order: Order): Promise<SnapshotRecord> {
  const [base] = await Promise.all([baseFor(order.engine, order.record), touch(order.engine, order.record)]);
  try {
    return await capture(order, base);
  } catch (error) {
    if (!(error instanceof BaseGone)) throw error;
    return capture(order, null);
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
  const stopped = AbortSignal.any([signal, stop.signal]);
  try {
    return await captureOnBase({ engine, extension, record, keepMs, signal: stopped });
  } catch (error) {
    if (stop.signal.aborted) throw stop.signal.reason;
    signal.throwIfAborted();
    throw error instanceof ExtensionError ? backendError(error, record.id) : error;
  } finally {
    stopListening();
    over();
  }
}
