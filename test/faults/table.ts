/** T4: what a backend may do wrong, at each step, once and always, and where the sandbox must end. */
import { FAULTS, type FaultKind } from '../../src/extensions/simulated/config.ts';

export const STEP_VERBS = ['provision', 'observe', 'destroy', 'setOwnDeadline'] as const;
export type StepVerb = (typeof STEP_VERBS)[number];

/**
 * `ready`, `failed` (cleaned up), `destroyed`, `attention` (an alarm, tried again until it works), `granted`,
 * `refused` (the sandbox lives on under its old deadline).
 */
export type End = 'ready' | 'failed' | 'destroyed' | 'attention' | 'granted' | 'refused';

export interface FaultRow {
  readonly verb: StepVerb;
  readonly kind: FaultKind;
  readonly once: End;
  readonly always: End;
}

type Column = Readonly<Partial<Record<FaultKind, readonly [once: End, always: End]>>>;

const SHRUGGED_OFF = ['ready', 'ready'] as const;
const RETRIED = ['ready', 'failed'] as const;
const FATAL = ['failed', 'failed'] as const;

const PROVISION: Column = {
  timeout_before: RETRIED,
  timeout_after: SHRUGGED_OFF,
  reset_before: RETRIED,
  reset_after: SHRUGGED_OFF,
  slow: SHRUGGED_OFF,
  drip: SHRUGGED_OFF,
  doubled: SHRUGGED_OFF,
  error_before: RETRIED,
  error_after: SHRUGGED_OFF,
  false_success: FATAL,
  conflict_own_name: SHRUGGED_OFF,
  unauthenticated: FATAL,
  forbidden: FATAL,
  throttled: RETRIED,
  html_503: RETRIED,
  outage: RETRIED,
  quota: FATAL,
  capacity: FATAL,
  truncated_body: SHRUGGED_OFF,
  garbage_body: SHRUGGED_OFF,
  html_body: SHRUGGED_OFF,
  huge_body: SHRUGGED_OFF,
  deep_nesting: SHRUGGED_OFF,
  wrong_types: SHRUGGED_OFF,
  control_characters: SHRUGGED_OFF,
  echoed_credentials: SHRUGGED_OFF,
  eventual: SHRUGGED_OFF,
  id_reused: SHRUGGED_OFF,
  two_under_one_name: SHRUGGED_OFF,
  tags_lost: SHRUGGED_OFF,
  tags_late: SHRUGGED_OFF,
  accepted_forever: FATAL,
  late_provision: SHRUGGED_OFF,
  dies_at_once: FATAL,
  dies_later: SHRUGGED_OFF,
  early_own_ttl: SHRUGGED_OFF,
  price_change: SHRUGGED_OFF,
};

const BROKEN_ANSWERS = [
  'timeout_before',
  'timeout_after',
  'reset_before',
  'reset_after',
  'drip',
  'error_before',
  'error_after',
  'throttled',
  'html_503',
  'outage',
  'truncated_body',
  'garbage_body',
  'html_body',
  'huge_body',
  'deep_nesting',
  'wrong_types',
  'control_characters',
  'echoed_credentials',
] as const;

const REFUSED = ['unauthenticated', 'forbidden'] as const;

function each(kinds: readonly FaultKind[], ends: readonly [End, End]): Column {
  return Object.fromEntries(kinds.map((kind) => [kind, ends]));
}

const OBSERVE: Column = {
  ...each([...BROKEN_ANSWERS, ...REFUSED], RETRIED),
  slow: SHRUGGED_OFF,
  observe_stale: SHRUGGED_OFF,
};

const DESTROY: Column = {
  ...each([...BROKEN_ANSWERS, ...REFUSED], ['destroyed', 'attention']),
  ...each(
    ['truncated_body', 'garbage_body', 'html_body', 'huge_body', 'deep_nesting', 'wrong_types'],
    ['destroyed', 'destroyed'],
  ),
  slow: ['destroyed', 'destroyed'],
  doubled: ['destroyed', 'destroyed'],
  conflict_destroy: ['destroyed', 'attention'],
  stuck_destroying: ['destroyed', 'attention'],
  destroy_lies: ['destroyed', 'attention'],
  resurrects: ['destroyed', 'destroyed'],
};

const SET_OWN_DEADLINE: Column = {
  ...each(BROKEN_ANSWERS, ['granted', 'refused']),
  ...each(REFUSED, ['refused', 'refused']),
  slow: ['granted', 'granted'],
  doubled: ['granted', 'granted'],
  false_success: ['granted', 'granted'],
};

const COLUMNS: Readonly<Record<StepVerb, Column>> = {
  provision: PROVISION,
  observe: OBSERVE,
  destroy: DESTROY,
  setOwnDeadline: SET_OWN_DEADLINE,
};

export const FAULT_TABLE: readonly FaultRow[] = STEP_VERBS.flatMap((verb) =>
  Object.entries(COLUMNS[verb]).map(([kind, [once, always]]) => ({
    verb,
    kind: kind as FaultKind,
    once,
    always,
  })),
);

/** Every fault that fits a step, from the backend's own list: the table must hold each. */
export function expectedPairs(): string[] {
  return STEP_VERBS.flatMap((verb) =>
    Object.entries(FAULTS)
      .filter(([, verbs]) => (verbs as readonly string[]).includes(verb))
      .map(([kind]) => `${verb} ${kind}`),
  );
}
