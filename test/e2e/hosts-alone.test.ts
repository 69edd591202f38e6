/** What a host does by itself, and what is found on one that nobody remembers. */
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compose } from '../../src/main.ts';
import type { SandboxView } from '../../src/operations/view.ts';
import type { LabHost } from '../lab/host.ts';
import { WEB_IMAGE } from '../lab/images.ts';
import { writeRepository } from '../lab/stacks.ts';
import { type ComposeHome, openComposeHome } from '../standins/compose-home.ts';

const run = promisify(execFile);
const COMMAND = resolve(import.meta.dirname, '../../sandboxer');
const PLANTED_DIRECTORY = 'zzzzzzzzzz';
const PLANTED_PROJECT = 'sbx-yyyyyyyyyy';

describe.runIf(process.getuid?.() === 0)('a host alone', () => {
  let place: ComposeHome;
  let host: LabHost;
  beforeAll(async () => {
    place = await openComposeHome(1);
    host = place.lab.hosts[0]!;
  });
  afterAll(async () => {
    await place.lab.stop();
    rmSync(place.home, { recursive: true, force: true });
  });

  async function sandboxer(...words: string[]): Promise<SandboxView> {
    const { stdout } = await run(COMMAND, words, { env: { ...place.variables } });
    return JSON.parse(stdout) as SandboxView;
  }

  const nothing = async () =>
    host.baseEntries().length === 0 &&
    (await host.containers()).length === 0 &&
    (await host.networks()).length === 0;

  it('takes a stack down within a minute of its deadline, though nobody ever comes back', async () => {
    const made = await sandboxer('create', '--profile', place.profile, '--ttl', '2s');
    const deadline = Date.parse(made.expires_at!);
    expect(await nothing()).toBe(false);
    while (Date.now() < deadline + 60_000 && !(await nothing())) await sleep(500);
    expect(await nothing()).toBe(true);
    expect(Date.now()).toBeGreaterThan(deadline);
  }, 90_000);

  it('does not end one early or late because its clock is an hour wrong', async () => {
    await host.setClockOffset(3_600);
    const made = await sandboxer('create', '--profile', place.profile, '--ttl', '5m');
    await sleep(7_000);
    expect(await host.composeProjects()).toEqual([`sbx-${made.sandbox_id}`]);
    await host.setClockOffset(0);
    await sandboxer('destroy', made.sandbox_id);
    expect(await nothing()).toBe(true);
  }, 60_000);

  it('that was rebooted is cleaned up, and the record says that the stack ended', async () => {
    const made = await sandboxer('create', '--profile', place.profile);
    await host.reboot();
    const gone = await sandboxer('destroy', made.sandbox_id);
    expect(gone.state).toBe('destroyed');
    expect(await nothing()).toBe(true);
  }, 60_000);

  it('that was rebooted keeps the deadline of what came back with it, from the first look on', async () => {
    const repository = join(place.home, 'comes-back');
    writeRepository(repository, 'comesBack');
    const made = await sandboxer(
      'create',
      '--profile',
      'profile.compose-e2e',
      '--input',
      `repo=${repository}`,
    );
    await host.reboot();
    const runs = async () => (await host.containers()).some(({ state }) => state === 'running');
    while (!(await runs())) await sleep(100);
    const composed = await compose({ environment: place.variables });
    try {
      await composed.engine.reconciler.checkLive(new AbortController().signal);
    } finally {
      await composed.close();
    }
    expect(await runs()).toBe(true);
    const setEnd = `echo 0 >${host.baseDirectory}/.sandboxer/${made.sandbox_id}/deadline`;
    await host.run(['sh', '-c', setEnd]);
    while (!(await nothing())) await sleep(500);
  }, 90_000);

  it('shows what was planted on it, and loses just that when told to reap', async () => {
    const kept = await sandboxer('create', '--profile', place.profile);
    await host.run([
      'mkdir',
      '-p',
      join(host.baseDirectory, PLANTED_DIRECTORY),
      join(host.baseDirectory, 'mine'),
    ]);
    await host.run(['touch', '-d', '2 hours ago', join(host.baseDirectory, PLANTED_DIRECTORY)]);
    for (const project of [PLANTED_PROJECT, 'somebody-else']) {
      const label = `com.docker.compose.project=${project}`;
      await host.docker('run', '-d', '--label', label, '--name', project, WEB_IMAGE);
    }
    const composed = await compose({
      environment: place.variables,
      settings: { sweepSightingGapMs: 1, sweepGraceMs: 1 },
    });
    try {
      const extension = await composed.engine.context.extensions.load('ext.compose-ssh');
      const { signal } = new AbortController();
      const look = (apply: boolean) => composed.engine.sweeper.sweep(extension, apply, signal, 50);
      const seen = (await look(false)).items.map(({ name }) => name);
      expect(seen).toEqual(expect.arrayContaining([`sbx-${PLANTED_DIRECTORY}`, PLANTED_PROJECT]));
      for (let sweep = 0; sweep < 3; sweep += 1) {
        await sleep(700); // the engine tells ages in seconds
        await look(true);
      }
    } finally {
      await composed.close();
    }
    expect(host.baseEntries().sort()).toEqual(['.sandboxer', kept.sandbox_id, 'mine'].sort());
    expect((await host.composeProjects()).toSorted()).toEqual(
      [`sbx-${kept.sandbox_id}`, 'somebody-else'].sort(),
    );
    await sandboxer('destroy', kept.sandbox_id);
  }, 60_000);
});
