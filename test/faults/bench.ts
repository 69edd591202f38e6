/** A control plane over a simulated backend that misbehaves, on time that passes quickly. */
import { join } from 'node:path';
import type { FaultRuleInput } from '../../src/extensions/simulated/config.ts';
import { LocalTransport } from '../../src/faces/library/local-transport.ts';
import { Sandboxer } from '../../src/faces/library/sandboxer.ts';
import { type Composed, compose } from '../../src/main.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { createHastyClock } from '../standins/hasty-clock.ts';
import { setFaults } from '../standins/simulated-backend.ts';
import { temporaryDirectory } from '../standins/simulated-harness.ts';
import { readSimulatedTruth, type SimulatedTruth } from '../standins/simulated-truth.ts';

const HASTE = 20;

export interface FaultBench extends AsyncDisposable {
  readonly composed: Composed;
  readonly sandboxer: Sandboxer;
  readonly clock: Clock;
  readonly truthDirectory: string;
  setFaults(rules: readonly FaultRuleInput[]): void;
  truth(): SimulatedTruth;
  /** What exists at the backend now, by name. */
  things(): string[];
}

/** `patienceMs` is how long, in the hasty time, one call to the backend may take. */
export async function openFaultBench(
  variables: Readonly<Record<string, string>> = {},
  patienceMs = 2_000,
  haste = HASTE,
): Promise<FaultBench> {
  const home = temporaryDirectory();
  const clock = createHastyClock(haste);
  const composed = await compose({
    environment: {
      PATH: process.env.PATH,
      SANDBOXER_HOME: home,
      SANDBOXER_SIMULATED_TIMEOUT_MS: String(patienceMs),
      ...variables,
    },
    clock,
    settings: { sweepGraceMs: 2_000, sweepSightingGapMs: 500, observationTimeoutMs: patienceMs },
  });
  await composed.engine.context.extensions.load('ext.simulated');
  const truthDirectory = join(home, 'extensions', 'ext.simulated');
  const sandboxer = new Sandboxer(new LocalTransport(composed));
  return {
    composed,
    sandboxer,
    clock,
    truthDirectory,
    setFaults: (rules) => setFaults(truthDirectory, rules),
    truth: () => readSimulatedTruth(truthDirectory),
    things() {
      const truth = readSimulatedTruth(truthDirectory);
      try {
        return truth.things(clock.nowMs()).map(({ name }) => name);
      } finally {
        truth.close();
      }
    },
    async [Symbol.asyncDispose]() {
      await sandboxer.close();
    },
  };
}
