/** A host on which we log in as a user with the engine's group and no other right: all of it works, and nothing is left. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Sandboxer } from '../../src/faces/library/index.ts';
import type { LabHost } from '../lab/host.ts';
import { writeRepository } from '../lab/stacks.ts';
import { type ComposeHome, openComposeHome } from '../standins/compose-home.ts';
import { destroyEverything } from '../standins/destroy-all.ts';
import { shell } from '../standins/shell.ts';

describe.runIf(process.getuid?.() === 0)('a host whose user is not root', () => {
  let place: ComposeHome;
  let host: LabHost;
  let sandboxer: Sandboxer;
  let repository: string;

  beforeAll(async () => {
    place = await openComposeHome(1, 'deploy');
    host = place.lab.hosts[0]!;
    repository = mkdtempSync(join(tmpdir(), 'sbx-user-'));
    writeRepository(repository, 'writesBoth');
    writeFileSync(join(repository, 'program'), '#!/bin/sh\n', { mode: 0o755 });
    sandboxer = await Sandboxer.connect({ environment: place.variables });
  });
  afterAll(async () => {
    await sandboxer.close();
    await place.lab.stop();
    for (const path of [place.home, repository]) rmSync(path, { recursive: true, force: true });
  });
  afterEach(async () => {
    await destroyEverything(sandboxer);
    const left = [await host.containers(), await host.volumes(), await host.networks(), host.baseEntries()];
    expect(left).toEqual([[], [], [], []]);
  });

  const create = () =>
    sandboxer.create({ profile: 'profile.compose-checkpoint', inputs: { repo: repository } });
  /** As root of the container, which is root of the host too. */
  const WRITE = `cd /workspace && mkdir -p deep/er && echo of-root >deep/er/file && echo secret >closed && chmod 600 closed
    mkdir shut && echo hidden >shut/file && chmod 700 shut deep && echo changed >program && echo kept >/data/kept`;

  it('is really no root: the test means what it says', async () => {
    const made = await create();
    expect((await host.run(['stat', '-c', '%U', `/tmp/sandboxer/${made.id}`])).stdout.trim()).toBe('deploy');
    expect(await shell(made, 'id -u')).toBe('0\n');
  });

  it('removes what containers wrote as root', async () => {
    const made = await create();
    await shell(made, WRITE);
    expect((await made.destroy()).state).toBe('destroyed');
  }, 60_000);

  it('captures and restores what containers wrote as root, closed to the user', async () => {
    const made = await create();
    await shell(made, WRITE);
    const snapshot = await made.snapshot();
    const restored = await sandboxer.restore(snapshot.snapshot_id);
    const script =
      'cat /workspace/deep/er/file /workspace/closed /workspace/shut/file /workspace/program /data/kept';
    expect(await shell(restored, script)).toBe('of-root\nsecret\nhidden\nchanged\nkept\n');
    expect(await shell(restored, 'stat -c %a /workspace/shut /workspace/closed')).toBe('700\n600\n');
  }, 120_000);

  it('its own reaper removes what containers wrote as root', async () => {
    const made = await sandboxer.create({
      profile: 'profile.compose-checkpoint',
      inputs: { repo: repository },
      ttl: '30s',
    });
    await shell(made, WRITE);
    const setEnd = `echo 0 >/tmp/sandboxer/.sandboxer/${made.id}/deadline`;
    await host.run(['sh', '-c', setEnd]);
    while (host.baseEntries().includes(made.id)) await new Promise((resolve) => setTimeout(resolve, 100));
  }, 60_000);
});
