import { LIMITS } from '../domain/limits.ts';

interface Memory {
  failuresInRow: number;
  coolingUntilMs: number | null;
  readyMs: number | null;
}

const SMOOTHING = 0.2;

/** What routing learns of each venue while the process runs: failures in a row, and measured time to ready. */
export class RoutingMemory {
  readonly #byVenue = new Map<string, Memory>();

  succeeded(venue: string, readyMs: number): void {
    const memory = this.#of(venue);
    memory.failuresInRow = 0;
    memory.coolingUntilMs = null;
    memory.readyMs =
      memory.readyMs === null ? readyMs : memory.readyMs + SMOOTHING * (readyMs - memory.readyMs);
  }

  failed(venue: string, nowMs: number): void {
    const memory = this.#of(venue);
    memory.failuresInRow += 1;
    if (memory.failuresInRow >= LIMITS.coolingFailures) memory.coolingUntilMs = nowMs + LIMITS.coolingMs;
  }

  coolingUntilMs(venue: string): number | null {
    return this.#of(venue).coolingUntilMs;
  }

  readyMs(venue: string): number | null {
    return this.#of(venue).readyMs;
  }

  #of(venue: string): Memory {
    let memory = this.#byVenue.get(venue);
    if (memory === undefined) {
      memory = { failuresInRow: 0, coolingUntilMs: null, readyMs: null };
      this.#byVenue.set(venue, memory);
    }
    return memory;
  }
}
