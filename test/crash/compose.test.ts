/**
 * P1 on a real host: after a crash at any step neither stack nor directory is left unknown there. The moments around each
 * record are the same code for every backend, so those between effect and record come first; SANDBOXER_TEST_ALL=1 takes all.
 */
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ComposeHome, openComposeHome } from '../standins/compose-home.ts';
import { destroyAll } from '../standins/destroy-all.ts';
import {
  type CrashOperation,
  crashTrial,
  expectSameAnswer,
  nameOf,
  pointsOf,
  wantedNames,
} from './crash-trial.ts';

const TRIAL_MS = 90_000;
const takesAll = process.env.SANDBOXER_TEST_ALL === '1';

function chosenPoints(operation: CrashOperation): readonly string[] {
  const points = pointsOf(operation, false);
  return takesAll ? points : points.filter((point) => point.endsWith('.effect') || point.includes('.begin.'));
}

describe.runIf(process.getuid?.() === 0)('SIGKILL while a stack on a host is worked on', () => {
  let place: ComposeHome;
  let lostHandles = 0;
  beforeAll(async () => {
    place = await openComposeHome(1);
  });
  afterAll(async () => {
    await place.lab.stop();
    rmSync(place.home, { recursive: true, force: true });
  });

  async function trial(operation: CrashOperation, point: string): Promise<void> {
    const host = place.lab.hosts[0]!;
    const environment = {
      home: place.home,
      variables: place.variables,
      profile: place.profile,
      isServer: true,
    };
    const report = await crashTrial(environment, operation, point, (record) => {
      const key = record === null ? '' : nameOf(record).slice('sbx-'.length);
      if (record !== null && record.handle === null && host.baseEntries().includes(key)) lostHandles += 1;
    });
    expectSameAnswer(report, operation, point);
    const wanted = wantedNames(report);
    expect((await host.composeProjects()).toSorted()).toEqual(wanted);
    const entries = host.baseEntries().filter((entry) => entry !== '.sandboxer');
    expect(entries.map((entry) => `sbx-${entry}`).sort()).toEqual(wanted);
    await destroyAll(place.home, place.variables);
    expect([await host.composeProjects(), await host.networks(), host.baseEntries()]).toEqual([[], [], []]);
  }

  for (const operation of ['create', 'destroy', 'extend', 'recreate'] as const) {
    for (const point of chosenPoints(operation)) {
      it(`at ${point}`, () => trial(operation, point), TRIAL_MS);
    }
  }

  it('has produced the case "the host has it and we have no handle"', () => {
    expect(lostHandles).toBeGreaterThan(0);
  });
});
