import { formatDuration } from '../domain/duration.ts';
import { LIMITS } from '../domain/limits.ts';
import { STATES } from '../domain/sandbox/lifecycle.ts';
import type { Observation } from '../ports/extension.ts';
import type { SandboxRecord } from '../ports/store.ts';
import { beginFailure } from './begin.ts';
import { commitChange } from './commit.ts';
import type { EngineContext } from './context.ts';
import { observe } from './observe.ts';
import type { Runner } from './runner.ts';
import { referenceOf } from './step.ts';

/** Level-based: looks at what is recorded and what is there, and starts what brings the two together. */
export class Reconciler {
  readonly #engine: EngineContext;
  readonly #runner: Runner;

  constructor(engine: EngineContext, runner: Runner) {
    this.#engine = engine;
    this.#runner = runner;
  }

  /** Takes up every unfinished run. Nothing else knows about crashes. */
  async resumeRuns(): Promise<number> {
    const records = await this.#engine.store.listRuns(LIMITS.reconcileBatch);
    for (const record of records) this.#runner.start(record);
    return records.length;
  }

  /** Raises an alarm on every record that has been in a passing state for longer than the table allows (P10). */
  async alarmOverdue(): Promise<void> {
    const nowMs = this.#engine.clock.nowMs();
    for (const record of await this.#engine.store.listRuns(LIMITS.reconcileBatch)) {
      const { maximumAgeMs } = STATES[record.state];
      const ageMs = nowMs - (record.run?.startedAtMs ?? nowMs);
      if (maximumAgeMs === null || ageMs <= maximumAgeMs || record.attention !== null) continue;
      const why = `It has been ${record.state} for ${formatDuration(ageMs)}, longer than ${formatDuration(maximumAgeMs)}.`;
      this.#engine.log.error('needs attention', { sandbox_id: record.id, why });
      await commitChange(this.#engine, record.id, (current) =>
        current.run?.id === record.run?.id
          ? { events: [{ type: 'attention', detail: { why } }], patch: { attention: why } }
          : null,
      );
    }
  }

  /** Forgets answers whose time to be repeated has passed. */
  async forgetOldAnswers(): Promise<void> {
    const before = this.#engine.clock.nowMs() - LIMITS.idempotencyRetentionMs;
    await this.#engine.store.transaction((transaction) => transaction.deleteIdempotencyBefore(before));
  }

  /** Looks at every live sandbox once; one that its backend has lost is failed and cleaned up. */
  async checkLive(signal: AbortSignal): Promise<void> {
    for (let afterId = ''; !signal.aborted; ) {
      const records = await this.#engine.store.listLive(afterId, LIMITS.reconcileParallel);
      await Promise.all(records.map((record) => this.#tryToCheck(record, signal)));
      const last = records.at(-1);
      if (last === undefined) return;
      afterId = last.id;
      await this.#engine.clock.sleep(0, signal); // a long list stops nobody else
    }
  }

  /** Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.resumeRuns();
        await this.alarmOverdue();
        await this.checkLive(signal);
        await this.forgetOldAnswers();
        await this.#engine.clock.sleep(this.#engine.settings.reconcileIntervalMs, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#engine.log.error('the reconciler could not finish its round', { cause: String(error) });
        await this.#engine.clock
          .sleep(this.#engine.settings.reconcileIntervalMs, signal)
          .catch(() => undefined);
      }
    }
  }

  /** One record that cannot be looked at hides no other. */
  async #tryToCheck(record: SandboxRecord, signal: AbortSignal): Promise<void> {
    try {
      await this.check(record, signal);
    } catch (error) {
      if (signal.aborted) return;
      this.#engine.log.error('a sandbox could not be looked at', {
        sandbox_id: record.id,
        cause: String(error),
      });
    }
  }

  /** Observes one live record; answers whether it is still there as far as anyone can tell. */
  async check(record: SandboxRecord, signal: AbortSignal): Promise<boolean> {
    const extension = await this.#engine.extensions.load(record.extensionId);
    const seen = await observe(this.#engine, extension, referenceOf(record), signal);
    const lost = describeLoss(seen);
    if (lost === null) return true;
    await commitChange(
      this.#engine,
      record.id,
      (current) =>
        current.version === record.version
          ? beginFailure(this.#engine, { code: 'sandbox_unreachable', message: lost })
          : null,
      { begin: (failed) => this.#runner.start(failed) },
    );
    return false;
  }
}

function describeLoss(seen: Observation): string | null {
  if (seen.kind === 'absent') return `The backend does not have it any more: ${seen.proof}.`;
  if (seen.kind === 'present' && seen.state === 'dead') {
    return `It ended by itself${seen.detail === null ? '' : `: ${seen.detail}`}.`;
  }
  return null;
}
