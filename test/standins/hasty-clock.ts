import { setTimeout as sleepTimer } from 'node:timers/promises';
import type { Clock } from '../../src/ports/clock.ts';

/** Time that passes `factor` times as fast, for the core and for what it talks to: waits shrink, order stays. */
export function createHastyClock(factor: number): Clock {
  const startWallMs = Date.now();
  const startMs = performance.now();
  const passedMs = () => (performance.now() - startMs) * factor;
  return {
    nowMs: () => Math.round(startWallMs + passedMs()),
    monotonicMs: passedMs,
    sleep: async (durationMs, signal) => {
      await sleepTimer(durationMs / factor, undefined, signal === undefined ? {} : { signal });
    },
    after(durationMs, callback) {
      const timer = setTimeout(callback, durationMs / factor);
      return () => clearTimeout(timer);
    },
  };
}
