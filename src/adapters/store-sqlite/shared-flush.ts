/**
 * Lets what is committed within one turn of the event loop share a flush: the disk is asked at the end of the
 * turn, or at once when something that cannot wait is committed before that.
 */
export class SharedFlush {
  readonly #flush: () => Promise<void>;
  #waiting: PromiseWithResolvers<void> | null = null;

  constructor(flush: () => Promise<void>) {
    this.#flush = flush;
  }

  /** Resolves once everything committed before the call is on the disk. */
  soon(): Promise<void> {
    if (this.#waiting === null) {
      const waiting = Promise.withResolvers<void>();
      this.#waiting = waiting;
      setImmediate(() => {
        if (this.#waiting === waiting) this.now();
      });
    }
    return this.#waiting.promise;
  }

  /** The same, without waiting for the turn to end; takes along those who wait for that. */
  now(): Promise<void> {
    const waiting = this.#waiting ?? Promise.withResolvers<void>();
    this.#waiting = null;
    this.#flush().then(waiting.resolve, waiting.reject);
    return waiting.promise;
  }
}
