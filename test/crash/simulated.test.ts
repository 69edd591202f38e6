/** P1, P2, P7: after a crash at any step nothing is leaked or charged twice, and the repeated key answers the same. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BackendProcess, startSimulatedBackend } from '../standins/simulated-backend.ts';
import { temporaryDirectory } from '../standins/simulated-harness.ts';
import { readSimulatedTruth } from '../standins/simulated-truth.ts';
import {
  type CrashOperation,
  crashTrial,
  expectSameAnswer,
  nameOf,
  pointsOf,
  wantedNames,
} from './crash-trial.ts';

const home = temporaryDirectory();
const truthDirectory = join(home, 'truth');
let backend: BackendProcess;
let lostHandles = 0;

beforeAll(async () => {
  backend = await startSimulatedBackend(truthDirectory);
});
afterAll(async () => {
  await backend.stop();
});

async function trial(operation: CrashOperation, point: string): Promise<void> {
  const variables = { SANDBOXER_SIMULATED_SOCKET: backend.socketPath };
  const environment = { home, variables, profile: 'profile.simulated', isServer: true };
  const truth = readSimulatedTruth(truthDirectory);
  try {
    const report = await crashTrial(environment, operation, point, (record) => {
      if (record !== null && record.handle === null && truth.exists(nameOf(record))) lostHandles += 1;
    });
    expectSameAnswer(report, operation, point);
    const wanted = wantedNames(report);
    const there = truth
      .things()
      .map((thing) => thing.name)
      .sort();
    expect(there).toEqual(wanted);
    const open = truth
      .bill()
      .filter((interval) => interval.endAtMs === null)
      .map((interval) => interval.name)
      .sort();
    expect(open).toEqual(wanted);
  } finally {
    truth.close();
  }
}

for (const operation of ['create', 'destroy', 'extend', 'recreate'] as const) {
  describe(`SIGKILL during ${operation} on the simulated backend`, () => {
    for (const point of pointsOf(operation, false)) {
      it(`at ${point}`, () => trial(operation, point));
    }
  });
}

describe('the crash test itself', () => {
  it('has produced the case "the backend has it and we have no handle"', () => {
    expect(lostHandles).toBeGreaterThan(0);
  });
});
