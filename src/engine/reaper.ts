import { LIMITS } from '../domain/limits.ts';
import type { EngineContext } from './context.ts';
import { expireIfOver } from './expire.ts';
import type { Runner } from './runner.ts';

const RETRY_MS = 1_000;

/** Ends what is over, on time: sleeps until the earliest deadline, or until a commit brings an earlier one. */
export class Reaper {
  readonly #engine: EngineContext;
  readonly #runner: Runner;
  #wakeAtMs = Number.POSITIVE_INFINITY;
  #wake = new AbortController();

  constructor(engine: EngineContext, runner: Runner) {
    this.#engine = engine;
    this.#runner = runner;
  }

  /** Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const stopListening = this.#engine.bus.onCommitted(({ record }) => {
      if (record.dueAtMs !== null && record.dueAtMs < this.#wakeAtMs) this.#wake.abort();
    });
    const stop = () => this.#wake.abort();
    signal.addEventListener('abort', stop, { once: true });
    while (!signal.aborted) await this.#round();
    stopListening();
    signal.removeEventListener('abort', stop);
  }

  async #round(): Promise<void> {
    const { clock, log } = this.#engine;
    this.#wake = new AbortController();
    this.#wakeAtMs = Number.POSITIVE_INFINITY;
    let waitMs: number;
    try {
      const ended = await this.expireDue();
      const nextMs = await this.#engine.store.nextDueAtMs();
      waitMs =
        ended === LIMITS.reaperBatch ? 0 : Math.min(LIMITS.timerMaxMs, (nextMs ?? Infinity) - clock.nowMs());
    } catch (error) {
      log.error('the reaper could not read or write the store', { cause: String(error) });
      waitMs = RETRY_MS;
    }
    if (waitMs <= 0) return;
    this.#wakeAtMs = clock.nowMs() + waitMs;
    try {
      await clock.sleep(waitMs, this.#wake.signal);
    } catch (error) {
      if (!this.#wake.signal.aborted) throw error;
    }
  }

  /** Ends one batch of what is over now; answers how many records were looked at. */
  async expireDue(): Promise<number> {
    const due = await this.#engine.store.listDue(this.#engine.clock.nowMs(), LIMITS.reaperBatch);
    await Promise.all(
      due.map(async (record) => {
        await expireIfOver(this.#engine, record, (expired) => this.#runner.start(expired));
      }),
    );
    return due.length;
  }
}
