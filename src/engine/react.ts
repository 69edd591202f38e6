/** What the runner does with a step that did not succeed. Decisions only; the runner carries them out. */
import { type ErrorCode, SandboxerError } from '../domain/errors.ts';
import { LIMITS } from '../domain/limits.ts';
import { venueKey } from '../domain/routing/venue.ts';
import { backoffMs, REACTIONS } from '../domain/sandbox/failure.ts';
import { mustFinish } from '../domain/sandbox/runs.ts';
import { asSentence } from '../domain/text.ts';
import { ExtensionError } from '../ports/extension.ts';
import type { RunRecord, SandboxRecord } from '../ports/store.ts';
import type { EngineContext } from './context.ts';
import { venueOf } from './slots.ts';
import { NotYet } from './step.ts';

export type Verdict =
  | { readonly kind: 'again'; readonly afterMs: number; readonly why: string; readonly alarm: boolean }
  | { readonly kind: 'give_up'; readonly error: SandboxerError; readonly mayMoveOn: boolean };

/** A backend may ask for any delay; we wait at most this long before we look again. */
function boundedRetryAfterMs(askedMs: number | null): number | null {
  if (askedMs === null || !Number.isFinite(askedMs) || askedMs < 0) return null;
  return Math.min(askedMs, LIMITS.stepBackoffMaxMs);
}

/** What a backend said, as the registered error of its kind, or of `code`. */
export function backendError(
  error: ExtensionError,
  sandboxId: string,
  code: ErrorCode = REACTIONS[error.kind].code,
): SandboxerError {
  return new SandboxerError(code, asSentence(error.message), { sandboxId, cause: error });
}

function publicError(error: unknown, record: SandboxRecord): SandboxerError {
  if (error instanceof SandboxerError) return error;
  if (error instanceof ExtensionError) return backendError(error, record.id);
  return new SandboxerError('backend_failed', `${record.extensionId} failed in a way it should not.`, {
    sandboxId: record.id,
    cause: error,
  });
}

function tooLate(record: SandboxRecord): SandboxerError {
  return new SandboxerError('provision_timeout', `${record.extensionId} did not get it ready in time.`, {
    sandboxId: record.id,
  });
}

/**
 * The verdict on an error of attempt `run.attempt + 1`. Steps that must finish are repeated for ever and raise an
 * alarm after `stepAttemptsMax`; the others give up there, at their deadline, or at once when repeating is useless.
 */
export function judge(engine: EngineContext, record: SandboxRecord, run: RunRecord, error: unknown): Verdict {
  const attempt = run.attempt + 1;
  const jitter = engine.entropy.bytes(1)[0]! / 256;
  const waitMs = backoffMs(attempt, LIMITS.stepBackoffFirstMs, LIMITS.stepBackoffMaxMs, jitter);
  const why = asSentence(error instanceof Error ? error.message : 'no reason was given');
  const exhausted = attempt >= LIMITS.stepAttemptsMax;
  const kind = error instanceof ExtensionError ? error.kind : error instanceof NotYet ? 'transient' : 'bug';
  if (mustFinish(run.steps[run.cursor]!)) return { kind: 'again', afterMs: waitMs, why, alarm: exhausted };
  const { reaction, coolsDown } = REACTIONS[kind];
  if (engine.clock.nowMs() + waitMs >= run.deadlineAtMs) {
    const late = run.kind === 'extend' ? publicError(error, record) : tooLate(record);
    return { kind: 'give_up', error: late, mayMoveOn: true };
  }
  if (reaction === 'retry' && !exhausted) {
    const asked = error instanceof ExtensionError ? boundedRetryAfterMs(error.retryAfterMs) : null;
    return { kind: 'again', afterMs: asked ?? waitMs, why, alarm: false };
  }
  const atFault = !(error instanceof SandboxerError) && (coolsDown || reaction === 'retry');
  if (atFault) engine.routing.failed(venueKey(venueOf(record)), engine.clock.nowMs());
  return { kind: 'give_up', error: publicError(error, record), mayMoveOn: reaction !== 'fail' };
}
