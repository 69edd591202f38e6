/**
 * THE life-cycle table. States, events, allowed transitions and the oldest age of each transient state live
 * here and nowhere else: no other file compares a state with a literal. The diagram in docs/concepts and the
 * all-pairs test are generated from it.
 */

/** `transient` states have a run working on them and a maximum age; older is an alarm. */
interface StateRow {
  readonly meaning: string;
  /** Something may exist at the backend. */
  readonly holdsResources: boolean;
  /** Sessions (exec, files, ports) may be opened. */
  readonly usable: boolean;
  /** TTL applies. */
  readonly expires: boolean;
  readonly maximumAgeMs: number | null;
}

const row = (
  meaning: string,
  holdsResources: boolean,
  usable: boolean,
  expires: boolean,
  maximumAgeMs: number | null,
): StateRow => ({ meaning, holdsResources, usable, expires, maximumAgeMs });

const MINUTE_MS = 60_000;

export const STATES = {
  requested: row('accepted and durable; nothing asked of a backend yet', false, false, false, MINUTE_MS),
  provisioning: row('the extension is working', true, false, false, 15 * MINUTE_MS),
  ready: row('reachability proven; the consumer may attach', true, true, true, null),
  active: row('in use', true, true, true, null),
  paused: row('suspended by a backend that can pause', true, false, true, null),
  expired: row('time ran out; teardown follows', true, false, false, MINUTE_MS),
  failed: row(
    'ended by a failure; the cause and what was cleaned up are on the record',
    true,
    false,
    false,
    null,
  ),
  destroying: row('teardown is under way', true, false, false, 15 * MINUTE_MS),
  destroyed: row('resources proven released; the record stays for audit', false, false, false, null),
} as const satisfies Record<string, StateRow>;

export type SandboxState = keyof typeof STATES;

export const EVENTS = {
  provision_started: 'the intent and the name are durable, the backend is being asked',
  ready_proven: 'the backend has it and it answered',
  used: 'first exec, file or session operation, or the consumer said so',
  paused: 'the backend suspended it',
  resumed: 'the backend woke it',
  time_ran_out: 'the deadline, the idle limit or the hard cap passed',
  failure_settled: 'a failure ended it',
  destroy_started: 'teardown was asked for',
  recreate_started: 'teardown was asked for, a new incarnation follows',
  absence_proven: 'the backend was seen not to have it any more',
} as const;

export type LifecycleEvent = keyof typeof EVENTS;

export const TRANSITIONS: {
  readonly [State in SandboxState]: { readonly [Event in LifecycleEvent]?: SandboxState };
} = {
  requested: {
    provision_started: 'provisioning',
    failure_settled: 'failed',
    destroy_started: 'destroying',
    time_ran_out: 'expired',
  },
  provisioning: {
    ready_proven: 'ready',
    failure_settled: 'failed',
    destroy_started: 'destroying',
    time_ran_out: 'expired',
  },
  ready: {
    used: 'active',
    paused: 'paused',
    time_ran_out: 'expired',
    failure_settled: 'failed',
    destroy_started: 'destroying',
    recreate_started: 'destroying',
  },
  active: {
    paused: 'paused',
    time_ran_out: 'expired',
    failure_settled: 'failed',
    destroy_started: 'destroying',
    recreate_started: 'destroying',
  },
  paused: {
    resumed: 'active',
    time_ran_out: 'expired',
    failure_settled: 'failed',
    destroy_started: 'destroying',
    recreate_started: 'destroying',
  },
  expired: { destroy_started: 'destroying' },
  failed: { destroy_started: 'destroying', recreate_started: 'destroying' },
  destroying: {
    absence_proven: 'destroyed',
    provision_started: 'provisioning',
    destroy_started: 'destroying',
    failure_settled: 'failed',
  },
  destroyed: {},
};

export const INITIAL_STATE: SandboxState = 'requested';
export const FINAL_STATE: SandboxState = 'destroyed';

/** The state after `event`, or null where the table does not allow it. */
export function transition(state: SandboxState, event: LifecycleEvent): SandboxState | null {
  return TRANSITIONS[state][event] ?? null;
}

export function isUsable(state: SandboxState): boolean {
  return STATES[state].usable;
}

export function canExpire(state: SandboxState): boolean {
  return STATES[state].expires;
}

export function isOver(state: SandboxState): boolean {
  return state === FINAL_STATE;
}

export function statesWhere(predicate: (state: SandboxState, row: StateRow) => boolean): SandboxState[] {
  return (Object.keys(STATES) as SandboxState[]).filter((state) => predicate(state, STATES[state]));
}

/** The states in which a slot, and at most a backend resource, is held. */
export const LIVE_STATES = statesWhere((state) => !isOver(state) && state !== 'failed');
