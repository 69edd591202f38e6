import { setImmediate as nextTurn, setTimeout as sleepTimer } from 'node:timers/promises';
import { LIMITS } from '../../domain/limits.ts';
import type { Clock } from '../../ports/clock.ts';

/** Where this boot's wall time was fixed; shared by all processes on one home, so none sees a jump. */
export interface ClockAnchor {
  readonly wallMs: number;
  /** `performance.now()`-like monotonic milliseconds at the same moment. */
  readonly monotonicMs: number;
}

export function anchorNow(): ClockAnchor {
  return { wallMs: Date.now(), monotonicMs: performance.now() };
}

/**
 * Wall time that follows the monotonic clock from its anchor on: setting the machine's clock forward or back
 * moves no deadline. Sleeps longer than `setTimeout` can hold (2^31-1 ms) are cut into pieces.
 */
export function createSystemClock(anchor: ClockAnchor = anchorNow()): Clock {
  return {
    nowMs: () => Math.round(anchor.wallMs + (performance.now() - anchor.monotonicMs)),
    monotonicMs: () => performance.now(),
    async sleep(durationMs, signal) {
      if (durationMs <= 0) return void (await nextTurn(undefined, signal === undefined ? {} : { signal }));
      const endMs = performance.now() + durationMs;
      for (let restMs = durationMs; restMs > 0; restMs = endMs - performance.now()) {
        const pieceMs = Math.min(restMs, LIMITS.timerMaxMs);
        await sleepTimer(pieceMs, undefined, signal === undefined ? {} : { signal });
      }
    },
    after(durationMs, callback) {
      const endMs = performance.now() + durationMs;
      let timer: NodeJS.Timeout;
      const arm = () => {
        const restMs = endMs - performance.now();
        timer = setTimeout(restMs > LIMITS.timerMaxMs ? arm : callback, Math.min(restMs, LIMITS.timerMaxMs));
        timer.unref();
      };
      arm();
      return () => clearTimeout(timer);
    },
  };
}
