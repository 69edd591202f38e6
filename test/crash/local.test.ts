/** P1 on this machine: after a crash at any step no process, cgroup, directory or id range is left unknown. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createSystemClock } from '../../src/adapters/clock/system-clock.ts';
import { Cgroups, findCgroups, readCgroupFiles } from '../../src/extensions/local/cgroups.ts';
import { destroyAll } from '../standins/destroy-all.ts';
import { localDirectory } from '../standins/local-harness.ts';
import {
  type CrashOperation,
  crashTrial,
  expectSameAnswer,
  nameOf,
  pointsOf,
  wantedNames,
} from './crash-trial.ts';

const home = localDirectory();
const boxes = join(home.path, 'extensions', 'ext.local', 'boxes');
const cgroups = new Cgroups(findCgroups(readCgroupFiles()), createSystemClock());
let lostHandles = 0;

afterAll(async () => {
  await destroyAll(home.path);
  home.remove();
});

async function trial(operation: CrashOperation, point: string, profile: string): Promise<void> {
  const environment = { home: home.path, variables: {}, profile };
  const report = await crashTrial(environment, operation, point, (record) => {
    if (record !== null && record.handle === null && existsSync(join(boxes, nameOf(record))))
      lostHandles += 1;
  });
  expectSameAnswer(report, operation, point);
  const wanted = wantedNames(report);
  expect(readdirSync(boxes).sort()).toEqual(wanted);
  expect(readdirSync(join(boxes, '..', 'ids'))).toHaveLength(process.getuid?.() === 0 ? wanted.length : 0);
  const gone = report.records.map(nameOf).filter((name) => !wanted.includes(name));
  for (const name of gone) expect(cgroups.exists(name), `a cgroup of ${name} is left`).toBe(false);
}

for (const operation of ['create', 'destroy', 'extend', 'recreate'] as const) {
  describe(`SIGKILL during ${operation} on this machine`, () => {
    for (const point of pointsOf(operation, false)) {
      it(`at ${point}`, () => trial(operation, point, 'profile.local'));
    }
  });
}

describe('SIGKILL during the canary self-deploy', () => {
  for (const point of pointsOf('create', true).filter((name) => /measure_host|introspect/.test(name))) {
    it(`at ${point}`, () => trial('create', point, 'profile.sandbox-canary'));
  }
});

describe('the crash test itself', () => {
  it('has produced the case "it runs and we have no handle"', () => {
    expect(lostHandles).toBeGreaterThan(0);
  });
});
