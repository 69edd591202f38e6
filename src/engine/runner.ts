import { asSandboxerError, SandboxerError } from '../domain/errors.ts';
import { LIMITS } from '../domain/limits.ts';
import { venueKey } from '../domain/routing/venue.ts';
import { isUsable } from '../domain/sandbox/lifecycle.ts';
import { mustFinish, type StepName } from '../domain/sandbox/runs.ts';
import { timeoutSignal } from '../ports/clock.ts';
import type { RunRecord, SandboxRecord } from '../ports/store.ts';
import { beginFailover, beginFailure } from './begin.ts';
import { commitChange, requireSandbox } from './commit.ts';
import type { EngineContext } from './context.ts';
import { Gate } from './gate.ts';
import { judge } from './react.ts';
import type { Change } from './record.ts';
import { venueOf } from './slots.ts';
import type { StepResult, StepTable } from './step.ts';

interface Active {
  runId: string;
  /** As last known: what was committed, and what provisional steps have learnt since. */
  record: SandboxRecord;
  readonly controller: AbortController;
  readonly done: Promise<void>;
  failure: SandboxerError | null;
}

const NOTHING = () => undefined;

/** A step ends with its run's deadline. One that removes something has a time of its own, and is then tried again. */
function stepTimeMs(run: RunRecord, name: StepName, nowMs: number): number {
  return mustFinish(name) ? LIMITS.removeStepTimeoutMs : Math.max(1, run.deadlineAtMs - nowMs);
}

/** The run this code was driving is no longer the record's run: somebody asked for something else. */
class Superseded extends Error {}

/** Provisional steps learn what the next commit must write. */
function carriedFields(record: SandboxRecord): Change['patch'] & object {
  const { handle, reachability, observed, telemetry, hostBefore, restoredFrom } = record;
  return { handle, reachability, observed, telemetry, hostBefore, restoredFrom };
}

function isSettled(record: SandboxRecord): boolean {
  return record.run === null || record.attention !== null;
}

/** The venue after the one that failed: where the sandbox is, or, in a failover, where it could not go. */
function nextVenue({ route: { order }, ...record }: SandboxRecord, run: RunRecord): string | undefined {
  const refused = run.steps[run.cursor] === 'next_candidate' ? String(run.argument.next_venue) : null;
  return order[order.indexOf(refused ?? venueKey(venueOf(record))) + 1];
}

/**
 * Drives runs: the steps a record carries, one after the other, each performed, then recorded. At most one run
 * of a sandbox is driven at a time; a newer one waits until the older has let go. Where a process ends in the
 * middle, the next one calls `start` with the same record and the step is performed again.
 */
export class Runner {
  readonly #engine: EngineContext;
  readonly #steps: StepTable;
  readonly #active = new Map<string, Active>();
  readonly #starting = new Map<string, Gate>();
  #stopping = false;

  constructor(engine: EngineContext, steps: StepTable) {
    this.#engine = engine;
    this.#steps = steps;
  }

  /** Begins or continues the record's run. Safe to repeat. */
  start(record: SandboxRecord): void {
    const runId = record.run?.id;
    const previous = this.#active.get(record.id);
    if (runId === undefined || this.#stopping || previous?.runId === runId) return;
    previous?.controller.abort(new Superseded());
    const controller = new AbortController();
    const active: Active = {
      runId,
      record,
      controller,
      failure: null,
      done: Promise.resolve().then(() => this.#drive(record, active, previous?.done)),
    };
    this.#active.set(record.id, active);
  }

  /**
   * Waits until the sandbox has no run, or its run has raised an alarm. Rejects with what kept the run from being
   * driven (the store, a defect), or with the signal's reason.
   */
  async settled(id: string, signal: AbortSignal): Promise<SandboxRecord> {
    const known = this.#active.get(id)?.record;
    let record = known === undefined || isSettled(known) ? await this.#read(id) : known;
    while (!isSettled(record)) {
      if (!this.#active.has(id)) this.start(record);
      const active = this.#active.get(id);
      if (active === undefined) {
        throw new SandboxerError('cancelled', 'The process is stopping; the work goes on later.');
      }
      record = (await this.#changed(id, active, signal)) ?? (await this.#read(id));
      if (active.failure !== null) throw active.failure;
    }
    return record;
  }

  /** Like `settled`, and waits through alarms too, until no run is left. */
  async idle(id: string, signal: AbortSignal): Promise<SandboxRecord> {
    for (;;) {
      const record = await this.settled(id, signal);
      if (record.run === null) return record;
      await this.#engine.clock.sleep(LIMITS.stepBackoffFirstMs, signal);
    }
  }

  /** Lets go of every run at the next safe place. They go on when a process starts again. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const { controller } of this.#active.values()) controller.abort(new Superseded());
    await Promise.all(Array.from(this.#active.values(), ({ done }) => done));
  }

  /** Waits until nothing is being driven, at most `patienceMs`. */
  async quiesce(patienceMs: number): Promise<void> {
    if (this.#active.size === 0) return;
    const timer = new AbortController();
    const work = Promise.all(Array.from(this.#active.values(), ({ done }) => done));
    await Promise.race([work, this.#engine.clock.sleep(patienceMs, timer.signal)]);
    timer.abort();
  }

  get activeCount(): number {
    return this.#active.size;
  }

  /** From the store, or what was committed while that was asked: a run that has ended is never begun again. */
  async #read(id: string): Promise<SandboxRecord> {
    let committed: SandboxRecord | null = null;
    const stopListening = this.#engine.bus.onCommitted(({ record }) => {
      if (record.id === id) committed = record;
    });
    try {
      const read = await requireSandbox(this.#engine, id);
      return committed ?? read;
    } finally {
      stopListening();
    }
  }

  /** The record once it is settled, or null when the run is not driven any more. */
  #changed(id: string, active: Active, signal: AbortSignal): Promise<SandboxRecord | null> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        stopListening();
        signal.removeEventListener('abort', abort);
        settle();
      };
      const abort = () => finish(() => reject(signal.reason));
      const stopListening = this.#engine.bus.onCommitted(({ record }) => {
        if (record.id === id && isSettled(record)) finish(() => resolve(record));
      });
      if (signal.aborted) return abort();
      signal.addEventListener('abort', abort, { once: true });
      active.done.then(() => finish(() => resolve(null)));
    });
  }

  async #drive(record: SandboxRecord, active: Active, previous: Promise<void> | undefined): Promise<void> {
    await previous;
    try {
      await this.#follow(record, active);
    } catch (error) {
      if (error instanceof Superseded || active.controller.signal.aborted) return;
      active.failure = asSandboxerError(error);
      this.#engine.bus.stopped({ sandboxId: record.id, error: active.failure });
      this.#engine.log.error('a run stopped; the reconciler takes it up again', {
        sandbox_id: record.id,
        code: active.failure.code,
        cause: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
    } finally {
      if (this.#active.get(record.id) === active) this.#active.delete(record.id);
    }
  }

  /** Performs step after step, through the runs that follow from a failure, until none is left. */
  async #follow(first: SandboxRecord, active: Active): Promise<void> {
    const { signal } = active.controller;
    for (let record = first; record.run !== null; ) {
      signal.throwIfAborted();
      const { run } = record;
      active.runId = run.id;
      active.record = record;
      try {
        record = await this.#perform(record, run, signal);
      } catch (error) {
        const ours = error instanceof SandboxerError && error.kind.fault === 'sandboxer';
        if (error instanceof Superseded || ours || signal.aborted) throw error;
        record = await this.#afterError(record, run, error, active);
      }
    }
  }

  async #perform(record: SandboxRecord, run: RunRecord, signal: AbortSignal): Promise<SandboxRecord> {
    const engine = this.#engine;
    const name = run.steps[run.cursor] as StepName;
    const step = this.#steps[name];
    engine.bus.progress({ sandboxId: record.id, step: step.label, attempt: run.attempt + 1 });
    engine.crashPoints.reached(`${run.kind}.${name}.before`);
    const extension = await engine.extensions.load(record.extensionId);
    const time = timeoutSignal(engine.clock, stepTimeMs(run, name, engine.clock.nowMs()), signal);
    let release: () => void = NOTHING;
    let result: StepResult;
    try {
      if (name === 'provision') release = await this.#gateOf(venueKey(venueOf(record))).enter(time.signal);
      result = await step.perform({ engine, extension, record, run, signal: time.signal });
    } finally {
      time.done();
      release();
    }
    const { change, provisional } = result;
    engine.crashPoints.reached(`${run.kind}.${name}.effect`);
    const cursor = run.cursor + 1;
    const nextRun = cursor === run.steps.length ? null : { ...run, cursor, attempt: 0, lastError: null };
    const after = provisional
      ? { ...record, ...change.patch, run: nextRun }
      : await this.#commit(record.id, run.id, () => ({
          ...change,
          patch: { ...carriedFields(record), ...change.patch, run: nextRun },
        }));
    engine.crashPoints.reached(`${run.kind}.${name}.recorded`);
    return after;
  }

  /** How many starts a venue is asked for at once; waiting, removing and retrying hold no place. */
  #gateOf(venue: string): Gate {
    let gate = this.#starting.get(venue);
    if (gate === undefined) {
      gate = new Gate(LIMITS.startsInFlightMax);
      this.#starting.set(venue, gate);
    }
    return gate;
  }

  async #afterError(
    record: SandboxRecord,
    run: RunRecord,
    error: unknown,
    active: Active,
  ): Promise<SandboxRecord> {
    const verdict = judge(this.#engine, record, run, error);
    if (verdict.kind === 'give_up') return this.#giveUp(record, run, verdict.error, verdict.mayMoveOn);
    const attempted = { ...run, attempt: run.attempt + 1, lastError: verdict.why };
    const after: SandboxRecord =
      verdict.alarm && record.attention === null
        ? await this.#raiseAlarm(record, attempted, verdict.why)
        : { ...record, run: attempted };
    /* Whoever asks while this waits must see the alarm, which is told of once. */
    active.record = after;
    await this.#engine.clock.sleep(verdict.afterMs, active.controller.signal);
    return after;
  }

  async #raiseAlarm(record: SandboxRecord, run: RunRecord, why: string): Promise<SandboxRecord> {
    this.#engine.log.error('needs attention', { sandbox_id: record.id, why });
    return this.#commit(record.id, run.id, () => ({
      events: [{ type: 'attention', detail: { why } }],
      patch: {
        attention: `${record.extensionId} could not be brought to remove it, and is asked again: ${why}`,
        run,
      },
    }));
  }

  async #giveUp(
    record: SandboxRecord,
    run: RunRecord,
    error: SandboxerError,
    mayMoveOn: boolean,
  ): Promise<SandboxRecord> {
    const next = nextVenue(record, run);
    return this.#commit(record.id, run.id, (current) => {
      const { code, message } = error;
      if (isUsable(current.state))
        return { patch: { run: null, lastRunFailure: { runId: run.id, code, message } } };
      if (mayMoveOn && next !== undefined) return beginFailover(this.#engine, record, next, message);
      return beginFailure(this.#engine, { code, message });
    });
  }

  #commit(id: string, runId: string, decide: (current: SandboxRecord) => Change): Promise<SandboxRecord> {
    return commitChange(this.#engine, id, (current) => {
      if (current.run?.id !== runId) throw new Superseded();
      return decide(current);
    });
  }
}
