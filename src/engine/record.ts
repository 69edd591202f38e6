import { SandboxerError } from '../domain/errors.ts';
import {
  canExpire,
  isOver,
  LIVE_STATES,
  type LifecycleEvent,
  type SandboxState,
  transition,
} from '../domain/sandbox/lifecycle.ts';
import type { NewEvent, SandboxRecord } from '../ports/store.ts';

/** What one commit does to a record: life-cycle events in order, fields, and events beyond the life cycle. */
export interface Change {
  /** The record is new; the detail of its `requested` event. */
  readonly requested?: Readonly<Record<string, unknown>>;
  readonly lifecycle?: readonly LifecycleEvent[];
  readonly patch?: Partial<Omit<SandboxRecord, 'id' | 'version' | 'state' | 'eventSequence'>>;
  readonly events?: readonly Pick<NewEvent, 'type' | 'detail'>[];
  /** Goes into the detail of the life-cycle events. */
  readonly detail?: Readonly<Record<string, unknown>>;
}

function nextState(state: SandboxState, event: LifecycleEvent, id: string): SandboxState {
  const next = transition(state, event);
  if (next !== null) return next;
  throw new SandboxerError('state_conflict', `The sandbox ${id} is ${state}; this cannot be done now.`, {
    sandboxId: id,
    nextStep: isOver(state) ? 'Create a new one.' : `Look at it with: sandboxer get ${id}`,
  });
}

/** A run that makes or removes the sandbox has a time of its own; while a deadline is being moved, the old one counts. */
function timeMatters(record: SandboxRecord): boolean {
  return record.run === null || record.run.kind === 'extend';
}

/** When the reaper must look at the record next. */
function nextDueAtMs(record: SandboxRecord): number | null {
  if (!LIVE_STATES.includes(record.state) || !timeMatters(record)) return null;
  const instants = [record.hardCapAtMs];
  if (canExpire(record.state)) {
    if (record.expiresAtMs !== null) instants.push(record.expiresAtMs);
    if (record.idleReapMs !== null && record.lastActivityAtMs !== null) {
      instants.push(record.lastActivityAtMs + record.idleReapMs);
    }
  }
  return Math.min(...instants);
}

/** Pure: the record after the change, and the events to append. Throws `state_conflict` where the table forbids it. */
export function applyChange(
  record: SandboxRecord,
  change: Change,
  nowMs: number,
): { record: SandboxRecord; events: NewEvent[] } {
  const events: NewEvent[] = [];
  let state = record.state;
  if (change.requested !== undefined) events.push({ type: 'requested', state, detail: change.requested });
  for (const event of change.lifecycle ?? []) {
    state = nextState(state, event, record.id);
    events.push({ type: event, state, detail: change.detail ?? {} });
  }
  for (const event of change.events ?? []) events.push({ ...event, state });
  const changed: SandboxRecord = {
    ...record,
    ...change.patch,
    state,
    updatedAtMs: nowMs,
    eventSequence: record.eventSequence + events.length,
  };
  return { record: { ...changed, dueAtMs: nextDueAtMs(changed) }, events };
}

export function holdsSlot(record: SandboxRecord): boolean {
  return LIVE_STATES.includes(record.state);
}
