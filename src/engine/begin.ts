/** Beginning a run: the change that puts it on a record. Each is made in one transaction with its state change. */
import { base32 } from '../domain/ids.ts';
import { LIMITS } from '../domain/limits.ts';
import { type RunKind, stepsOf } from '../domain/sandbox/runs.ts';
import type { RunRecord, SandboxRecord } from '../ports/store.ts';
import type { EngineContext } from './context.ts';
import type { Change } from './record.ts';

const RUN_ID_BYTES = 12;

const RUN_TIME_MS: Readonly<Record<RunKind, number>> = {
  create: LIMITS.provisionTimeoutMs,
  recreate: LIMITS.provisionTimeoutMs,
  failover: LIMITS.provisionTimeoutMs,
  destroy: LIMITS.destroyTimeoutMs,
  cleanup: LIMITS.destroyTimeoutMs,
  extend: LIMITS.extendTimeoutMs,
};

export function newRunId(engine: EngineContext): string {
  return base32(engine.entropy.bytes(RUN_ID_BYTES));
}

export function newRun(
  engine: EngineContext,
  kind: RunKind,
  wantsTelemetry: boolean,
  argument: RunRecord['argument'] = {},
  id = newRunId(engine),
): RunRecord {
  const startedAtMs = engine.clock.nowMs();
  return {
    id,
    kind,
    steps: stepsOf(kind, wantsTelemetry),
    cursor: 0,
    attempt: 0,
    lastError: null,
    startedAtMs,
    deadlineAtMs: startedAtMs + RUN_TIME_MS[kind],
    argument,
  };
}

/** What a sandbox that begins with a snapshot may need beyond the time of a create. */
export function restoreExtraMsOf({ restoredFrom }: Pick<SandboxRecord, 'restoredFrom'>): number {
  return restoredFrom?.extraMs ?? 0;
}

/** The run that makes a sandbox, with the time that what it begins with needs. */
export function newMakingRun(
  record: Pick<SandboxRecord, 'restoredFrom'>,
  ...run: Parameters<typeof newRun>
): RunRecord {
  const made = newRun(...run);
  return { ...made, deadlineAtMs: made.deadlineAtMs + restoreExtraMsOf(record) };
}

export function beginDestroy(engine: EngineContext, cause: string, runId: string): Change {
  return {
    lifecycle: ['destroy_started'],
    detail: { cause },
    patch: { desired: 'absent', attention: null, run: newRun(engine, 'destroy', false, {}, runId) },
  };
}

export function beginExpiry(engine: EngineContext, cause: string): Change {
  return {
    lifecycle: ['time_ran_out', 'destroy_started'],
    detail: { cause },
    patch: { desired: 'absent', attention: null, run: newRun(engine, 'destroy', false) },
  };
}

export function beginRecreate(engine: EngineContext, record: SandboxRecord, runId: string): Change {
  return {
    lifecycle: ['recreate_started'],
    detail: { epoch: record.epoch },
    patch: {
      desired: 'present',
      attention: null,
      run: newMakingRun(record, engine, 'recreate', record.wantsTelemetry, {}, runId),
    },
  };
}

/** A failure ends the sandbox at once; what it may hold is removed by the run that starts with it. */
export function beginFailure(
  engine: EngineContext,
  failure: { readonly code: string; readonly message: string },
): Change {
  return {
    lifecycle: ['failure_settled'],
    detail: failure,
    patch: {
      desired: 'absent',
      failure: { ...failure, cleanedUp: null },
      run: newRun(engine, 'cleanup', false),
    },
  };
}

export function beginFailover(
  engine: EngineContext,
  record: SandboxRecord,
  nextVenue: string,
  why: string,
): Change {
  const argument = { next_venue: nextVenue, why };
  const run = newMakingRun(record, engine, 'failover', record.wantsTelemetry, argument);
  return { patch: { run: { ...run, deadlineAtMs: Math.min(run.deadlineAtMs, record.hardCapAtMs) } } };
}
