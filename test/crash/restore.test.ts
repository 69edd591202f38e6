/**
 * P1 and P7 for a restore: after a crash at any step, also in the middle of reading the snapshot, nothing is left unknown, the
 * repeated key answers the same, and what is there in the end is whole. On a host the moments around each record are those that
 * differ from the others; SANDBOXER_TEST_ALL=1 takes all.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Sandboxer } from '../../src/faces/library/index.ts';
import { writeRepository } from '../lab/stacks.ts';
import { type ComposeHome, openComposeHome } from '../standins/compose-home.ts';
import { destroyAll } from '../standins/destroy-all.ts';
import { localDirectory } from '../standins/local-harness.ts';
import {
  type CrashEnvironment,
  crashTrial,
  expectSameAnswer,
  nameOf,
  pointsOf,
  wantedNames,
} from './crash-trial.ts';

const TRIAL_MS = 90_000;
const POINTS = pointsOf('restore', false);
/** Larger than what is read at once, so that a crash finds some of it written and some not. */
const LARGE_BYTES = 3_000_000;

/** One sandbox is captured and ended; every trial begins with what it held. */
async function captured(
  variables: Readonly<Record<string, string | undefined>>,
  input: Parameters<Sandboxer['create']>[0],
  script: string,
): Promise<string> {
  await using sandboxer = await Sandboxer.connect({ environment: variables });
  const source = await sandboxer.create(input);
  const { exitCode, stderr } = await source.run(['sh', '-c', script]);
  expect([exitCode, stderr]).toEqual([0, '']);
  const { snapshot_id: id } = await source.snapshot();
  await source.destroy();
  return id;
}

describe('SIGKILL during a restore on this machine', () => {
  const home = localDirectory();
  const variables = { PATH: process.env.PATH ?? '', SANDBOXER_HOME: home.path };
  const boxes = join(home.path, 'extensions', 'ext.local', 'boxes');
  const layers = join(home.path, 'extensions', 'ext.local', 'layers');
  const shared = () => {
    const boots = existsSync(layers) ? readdirSync(layers) : [];
    return boots.flatMap((boot) => readdirSync(join(layers, boot)));
  };
  let environment: CrashEnvironment;

  beforeAll(async () => {
    const script = `head -c ${LARGE_BYTES} /dev/urandom >large && echo kept >note`;
    const snapshotId = await captured(variables, { profile: 'profile.local' }, script);
    environment = { home: home.path, variables: {}, profile: 'profile.local', snapshotId };
  });
  afterAll(async () => {
    await destroyAll(home.path);
    home.remove();
  });

  for (const point of POINTS) {
    it(
      `at ${point}`,
      async () => {
        rmSync(layers, { recursive: true, force: true });
        const report = await crashTrial(environment, 'restore', point, () => undefined);
        expectSameAnswer(report, 'restore', point);
        const wanted = wantedNames(report);
        expect(readdirSync(boxes).sort()).toEqual(wanted);
        expect(readdirSync(join(home.path, 'snapshots'))).toEqual([`${environment.snapshotId}.tar.zst`]);
        expect(shared()).toEqual(process.getuid?.() === 0 ? [environment.snapshotId] : []);
        await using sandboxer = await Sandboxer.connect({ environment: variables });
        const made = await sandboxer.get(report.answer.sandbox_id);
        const { stdout } = await made.run(['sh', '-c', 'cat note; stat -c %s large']);
        expect(stdout).toBe(`kept\n${LARGE_BYTES}\n`);
      },
      TRIAL_MS,
    );
  }
});

describe.runIf(process.getuid?.() === 0)('SIGKILL during a restore of a stack on a host', () => {
  const takesAll = process.env.SANDBOXER_TEST_ALL === '1';
  const points = POINTS.filter(
    (point) => takesAll || point.endsWith('.effect') || point.startsWith('restore.'),
  );
  let place: ComposeHome;
  let repository: string;
  let environment: CrashEnvironment;
  let withoutHandle = 0;

  beforeAll(async () => {
    place = await openComposeHome(1);
    repository = mkdtempSync(join(tmpdir(), 'sbx-restore-'));
    writeRepository(repository, 'writesBoth');
    const profile = 'profile.compose-checkpoint';
    const script = `head -c ${LARGE_BYTES} /dev/urandom >/workspace/large && echo kept >/data/note`;
    const snapshotId = await captured(place.variables, { profile, inputs: { repo: repository } }, script);
    environment = { home: place.home, variables: place.variables, profile, snapshotId, isServer: true };
  });
  afterAll(async () => {
    await place.lab.stop();
    for (const path of [place.home, repository]) rmSync(path, { recursive: true, force: true });
  });

  for (const point of points) {
    it(
      `at ${point}`,
      async () => {
        const host = place.lab.hosts[0]!;
        const report = await crashTrial(environment, 'restore', point, (record) => {
          const key = record === null ? '' : nameOf(record).slice('sbx-'.length);
          if (record !== null && record.handle === null && host.baseEntries().includes(key))
            withoutHandle += 1;
        });
        expectSameAnswer(report, 'restore', point);
        const wanted = wantedNames(report);
        expect(wanted).toHaveLength(1);
        expect(await host.composeProjects()).toEqual(wanted);
        expect(await host.volumes()).toEqual(wanted.map((name) => `${name}_data`));
        const key = wanted[0]!.slice('sbx-'.length);
        expect(host.baseEntries().filter((entry) => entry !== '.sandboxer')).toEqual([key]);
        const [container] = await host.containers();
        const words = ['exec', container!.name, 'stat', '-c', '%s', '/workspace/large', '/data/note'];
        expect((await host.docker(...words)).stdout).toBe(`${LARGE_BYTES}\n5\n`);
        await destroyAll(place.home, place.variables);
        expect([await host.composeProjects(), await host.volumes(), host.baseEntries()]).toEqual([
          [],
          [],
          [],
        ]);
      },
      TRIAL_MS,
    );
  }

  it('has produced the case "the host has it and we have no handle"', () => {
    expect(withoutHandle).toBeGreaterThan(0);
  });
});
