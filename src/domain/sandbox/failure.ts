/**
 * What a failed backend call means for the run that made it. The table of architecture.md, section 3: an error's
 * kind decides, never its text.
 */
export type BackendErrorKind =
  | 'invalid'
  | 'unauthenticated'
  | 'forbidden'
  | 'quota'
  | 'capacity'
  | 'throttled'
  | 'transient'
  | 'ambiguous'
  | 'conflict'
  | 'unsupported'
  | 'bug';

export type Reaction =
  /** Repeat the step after a back-off, inside the run's deadline. */
  | 'retry'
  /** Ask by name what happened, before anything else. */
  | 'observe'
  /** Undo, prove absence, and try the next candidate; fail when there is none. */
  | 'next_candidate'
  /** Undo and fail: the request itself is wrong. */
  | 'fail';

interface ReactionRow {
  readonly reaction: Reaction;
  /** Counts against the extension in routing. */
  readonly coolsDown: boolean;
  readonly code:
    | 'invalid_input'
    | 'unsupported'
    | 'backend_refused'
    | 'backend_unavailable'
    | 'backend_failed';
}

const row = (reaction: Reaction, coolsDown: boolean, code: ReactionRow['code']): ReactionRow => ({
  reaction,
  coolsDown,
  code,
});

export const REACTIONS: Readonly<Record<BackendErrorKind, ReactionRow>> = {
  invalid: row('fail', false, 'invalid_input'),
  unauthenticated: row('next_candidate', true, 'backend_refused'),
  forbidden: row('next_candidate', true, 'backend_refused'),
  quota: row('next_candidate', true, 'backend_unavailable'),
  capacity: row('next_candidate', true, 'backend_unavailable'),
  throttled: row('retry', false, 'backend_unavailable'),
  transient: row('retry', false, 'backend_unavailable'),
  ambiguous: row('observe', false, 'backend_unavailable'),
  conflict: row('observe', false, 'backend_refused'),
  unsupported: row('next_candidate', false, 'unsupported'),
  bug: row('next_candidate', true, 'backend_failed'),
};

/** Wait before attempt `attempt` (1 is the first repeat): doubled each time, between the bounds, plus `jitter` in [0,1). */
export function backoffMs(attempt: number, firstMs: number, maximumMs: number, jitter: number): number {
  const full = Math.min(maximumMs, firstMs * 2 ** Math.min(attempt - 1, 20));
  return Math.round(full * (0.5 + jitter / 2));
}
