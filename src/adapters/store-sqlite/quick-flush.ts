import type { Clock } from '../../ports/clock.ts';
import type { Flusher, LogFlusher } from './flush.ts';

/** Waking a thread, and being woken by it, costs about as much. */
const QUICK_MS = 0.25;

/**
 * Flushes on the spot while the disk is quick, and in a thread while it is not: after one flush that took n times
 * `QUICK_MS`, the next n² are made in a thread. So everything else is held up for an eighth of a millisecond a flush at most, on
 * the average, however slow the disk.
 */
export class QuickFlusher implements Flusher {
  readonly #file: LogFlusher;
  readonly #clock: Clock;
  #leftForThread = 0;

  constructor(file: LogFlusher, clock: Clock) {
    this.#file = file;
    this.#clock = clock;
  }

  async flush(): Promise<void> {
    if (this.#leftForThread > 0) {
      this.#leftForThread -= 1;
      return this.#file.flush();
    }
    const beganAtMs = this.#clock.monotonicMs();
    this.#file.flushHere();
    const tookMs = this.#clock.monotonicMs() - beganAtMs;
    this.#leftForThread = Math.floor((tookMs / QUICK_MS) ** 2);
  }

  close(): void {
    this.#file.close();
  }
}
