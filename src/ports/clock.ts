/** Time. Wall instants never jump inside one process: adapters anchor them to a clock that only moves on. */
export interface Clock {
  /** Milliseconds since the epoch. */
  nowMs(): number;
  /** Milliseconds from an arbitrary start, with fractions, for measuring. */
  monotonicMs(): number;
  /** Resolves after `durationMs`, or rejects with the signal's reason. Any length is allowed; 0 lets everything else run once. */
  sleep(durationMs: number, signal?: AbortSignal): Promise<void>;
  /** Calls back after `durationMs`; the answer calls it off. Any length is allowed. */
  after(durationMs: number, callback: () => void): () => void;
}

/** A signal that aborts after `durationMs`, or when `parent` does; call `done` when the work is over. */
export interface Timeout {
  readonly signal: AbortSignal;
  done(): void;
}

export function timeoutSignal(clock: Clock, durationMs: number, parent?: AbortSignal): Timeout {
  const controller = new AbortController();
  const forward = () => controller.abort(parent?.reason);
  if (parent?.aborted) forward();
  parent?.addEventListener('abort', forward, { once: true });
  const callOff = clock.after(durationMs, () =>
    controller.abort(new DOMException(`no answer within ${durationMs} ms`, 'TimeoutError')),
  );
  return {
    signal: controller.signal,
    done() {
      parent?.removeEventListener('abort', forward);
      callOff();
    },
  };
}
