/**
 * The step lists. A run is one of these lists, stored when it begins, and a cursor; create, destroy and the
 * rest differ only in their steps. The crash test reads its points from here.
 */
export const RUN_STEPS = {
  create: ['measure_host', 'provision', 'prove_ready', 'introspect', 'become_ready'],
  destroy: ['request_destroy', 'prove_absent', 'record_destroyed'],
  recreate: [
    'request_destroy',
    'prove_absent',
    'next_incarnation',
    'measure_host',
    'provision',
    'prove_ready',
    'introspect',
    'become_ready',
  ],
  failover: [
    'request_destroy',
    'prove_absent',
    'next_candidate',
    'provision',
    'prove_ready',
    'introspect',
    'become_ready',
  ],
  cleanup: ['request_destroy', 'prove_absent', 'record_cleaned_up'],
  extend: ['extend_own_deadline', 'record_deadline'],
} as const satisfies Record<string, readonly string[]>;

export type RunKind = keyof typeof RUN_STEPS;
export type StepName = (typeof RUN_STEPS)[RunKind][number];

const TELEMETRY_STEPS: readonly StepName[] = ['measure_host', 'introspect'];

/** The steps of a run, without those that only telemetry needs where none is wanted. */
export function stepsOf(kind: RunKind, wantsTelemetry: boolean): readonly StepName[] {
  const steps: readonly StepName[] = RUN_STEPS[kind];
  return wantsTelemetry ? steps : steps.filter((step) => !TELEMETRY_STEPS.includes(step));
}

const REMOVING_STEPS: readonly string[] = [
  'request_destroy',
  'prove_absent',
  'record_destroyed',
  'record_cleaned_up',
];

/** Steps that take something away are tried until they are proven; the others give up at their run's deadline. */
export function mustFinish(step: string): boolean {
  return REMOVING_STEPS.includes(step);
}

export const CRASH_MOMENTS = ['before', 'effect', 'recorded'] as const;

/** Inside of `create.provision`, while a snapshot is read: some of a part, all of a part, everything and proven. */
export const RESTORE_POINTS = ['restore.read.piece', 'restore.read.part', 'restore.read.proven'] as const;

/** Every place at which the crash test ends the process, `run.step.moment`. */
export function crashPoints(kind: RunKind, wantsTelemetry: boolean): readonly string[] {
  return stepsOf(kind, wantsTelemetry).flatMap((step) =>
    CRASH_MOMENTS.map((moment) => `${kind}.${step}.${moment}`),
  );
}
