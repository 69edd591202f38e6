import type { Flusher } from './flush.ts';

/**
 * Lets what is written within one turn of the event loop share a flush: the disk is asked at the end of the
 * turn, or at once when something that cannot wait is written before that.
 */
export class SharedFlush {
  readonly #asked = new Set<Flusher>();
  #waiting: PromiseWithResolvers<unknown> | null = null;

  /** Resolves once everything that was written before the call for one of the flushers asked is on the disk. */
  soon(flusher: Flusher): Promise<unknown> {
    this.#asked.add(flusher);
    if (this.#waiting === null) {
      const waiting = Promise.withResolvers<unknown>();
      this.#waiting = waiting;
      setImmediate(() => {
        if (this.#waiting === waiting) this.#flush();
      });
    }
    return this.#waiting.promise;
  }

  /** The same, without waiting for the turn to end; takes along those who wait for that. */
  now(flusher: Flusher): Promise<unknown> {
    this.#asked.add(flusher);
    this.#waiting ??= Promise.withResolvers<unknown>();
    const { promise } = this.#waiting;
    this.#flush();
    return promise;
  }

  #flush(): void {
    const asked = [...this.#asked];
    const waiting = this.#waiting;
    this.#asked.clear();
    this.#waiting = null;
    Promise.all(asked.map((flusher) => flusher.flush())).then(waiting?.resolve, waiting?.reject);
  }
}
