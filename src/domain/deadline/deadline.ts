import type { SandboxState } from '../sandbox/lifecycle.ts';
import { canExpire } from '../sandbox/lifecycle.ts';

/** All instants are milliseconds since the epoch by the broker's own clock; null means "not set". */
export interface DeadlineFacts {
  readonly state: SandboxState;
  readonly expiresAtMs: number | null;
  readonly hardCapAtMs: number;
  readonly idleReapMs: number | null;
  readonly lastActivityAtMs: number | null;
  readonly commandsRunning: number;
}

export type ExpiryCause = 'ttl' | 'idle' | 'hard_cap';

/** Why a sandbox is over at `nowMs`, or null while it may live. A running command is activity. */
export function expiryCause(facts: DeadlineFacts, nowMs: number): ExpiryCause | null {
  if (nowMs >= facts.hardCapAtMs) return 'hard_cap';
  if (!canExpire(facts.state)) return null;
  if (facts.expiresAtMs !== null && nowMs >= facts.expiresAtMs) return 'ttl';
  if (facts.idleReapMs === null || facts.lastActivityAtMs === null || facts.commandsRunning > 0) return null;
  return nowMs - facts.lastActivityAtMs >= facts.idleReapMs ? 'idle' : null;
}

export interface Grant {
  readonly expiresAtMs: number;
  readonly requestedMs: number;
  readonly grantedMs: number;
  /** A sentence, or null when all that was asked was granted. */
  readonly cutReason: string | null;
}

/**
 * The deadline after an extension by `durationMs`: added to `expiresAtMs`, or to now when that has passed,
 * never beyond `capAtMs` (`ttl.max` from ready). Never moves a deadline backwards.
 */
export function extendDeadline(
  expiresAtMs: number,
  durationMs: number,
  capAtMs: number,
  nowMs: number,
): Grant {
  const from = Math.max(expiresAtMs, nowMs);
  const wanted = from + durationMs;
  const granted = Math.max(expiresAtMs, Math.min(wanted, capAtMs));
  return {
    expiresAtMs: granted,
    requestedMs: durationMs,
    grantedMs: Math.max(0, granted - from),
    cutReason: granted < wanted ? "the profile's ttl.max, counted from ready, does not allow more" : null,
  };
}

/** The deadline set at ready: the request's ttl or the profile's default, capped by `ttl.max`. */
export function initialDeadline(readyAtMs: number, ttlMs: number, ttlMaxMs: number): number {
  return readyAtMs + Math.min(ttlMs, ttlMaxMs);
}
