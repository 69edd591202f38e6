import { LIMITS } from '../domain/limits.ts';

interface Memory {
  failuresInRow: number;
  coolingUntilMs: number | null;
  readyMs: number | null;
}

const SMOOTHING = 0.2;

/** What routing learns while the process runs: failures in a row, and measured time to ready. */
export class RoutingMemory {
  readonly #byExtension = new Map<string, Memory>();

  succeeded(extensionId: string, readyMs: number): void {
    const memory = this.#of(extensionId);
    memory.failuresInRow = 0;
    memory.coolingUntilMs = null;
    memory.readyMs =
      memory.readyMs === null ? readyMs : memory.readyMs + SMOOTHING * (readyMs - memory.readyMs);
  }

  failed(extensionId: string, nowMs: number): void {
    const memory = this.#of(extensionId);
    memory.failuresInRow += 1;
    if (memory.failuresInRow >= LIMITS.coolingFailures) memory.coolingUntilMs = nowMs + LIMITS.coolingMs;
  }

  coolingUntilMs(extensionId: string): number | null {
    return this.#of(extensionId).coolingUntilMs;
  }

  readyMs(extensionId: string): number | null {
    return this.#of(extensionId).readyMs;
  }

  #of(extensionId: string): Memory {
    let memory = this.#byExtension.get(extensionId);
    if (memory === undefined) {
      memory = { failuresInRow: 0, coolingUntilMs: null, readyMs: null };
      this.#byExtension.set(extensionId, memory);
    }
    return memory;
  }
}
