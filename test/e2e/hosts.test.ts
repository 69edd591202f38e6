/** Stacks on real hosts through the whole program: the usual way, and everything that hosts do to one. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Sandboxer } from '../../src/faces/library/index.ts';
import type { LabHost } from '../lab/host.ts';
import { WEB_IMAGE } from '../lab/images.ts';
import { type StackName, writeRepository } from '../lab/stacks.ts';
import { type ComposeHome, openComposeHome } from '../standins/compose-home.ts';
import { destroyEverything } from '../standins/destroy-all.ts';

/** Somebody beyond the host's cable, who counts who came. */
async function listen() {
  let heard = 0;
  const server = createServer((socket) => {
    heard += 1;
    socket.end();
  });
  await once(server.listen(0, '0.0.0.0'), 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    heard: () => heard,
    address: ({ address }: LabHost) => address.replace(/\d+$/, (last) => String(Number(last) - 1)),
    async [Symbol.asyncDispose]() {
      server.close();
    },
  };
}

const E2E = 'profile.compose-e2e';
const PATIENCE_MS = 90_000;
const LARGE_BYTES = 96 * 1024 * 1024;

describe.runIf(process.getuid?.() === 0)('stacks on real hosts', () => {
  let place: ComposeHome;
  let sandboxer: Sandboxer;
  let repositories: string;

  beforeAll(async () => {
    place = await openComposeHome(2);
    repositories = mkdtempSync(join(tmpdir(), 'sbx-repositories-'));
    sandboxer = await Sandboxer.connect({ environment: place.variables });
  });
  afterAll(async () => {
    await sandboxer.close();
    await place.lab.stop();
    for (const path of [place.home, repositories]) rmSync(path, { recursive: true, force: true });
  });

  const host = (index: number): LabHost => place.lab.hosts[index]!;

  function repository(stack: StackName): string {
    const path = join(repositories, stack);
    writeRepository(path, stack);
    return path;
  }

  function create(stack: StackName, on = 'host1', more: object = {}) {
    return sandboxer.create({ profile: E2E, inputs: { repo: repository(stack) }, host: on, ...more });
  }

  /** Nothing of ours, by the hosts' own truth. */
  async function expectNothingLeft(): Promise<void> {
    for (const one of place.lab.hosts) {
      const left = [await one.containers(), await one.volumes(), await one.networks(), one.baseEntries()];
      expect(left, one.name).toEqual([[], [], [], []]);
    }
  }

  async function until(
    what: string,
    isTrue: () => Promise<boolean>,
    { everyMs = 250 }: { readonly everyMs?: number } = {},
  ): Promise<void> {
    const end = performance.now() + PATIENCE_MS;
    while (!(await isTrue())) {
      if (performance.now() > end) throw new Error(`not in time: ${what}`);
      await sleep(everyMs);
    }
  }

  describe('the usual way', () => {
    afterEach(async () => {
      await destroyEverything(sandboxer);
      await expectNothingLeft();
    });

    it('brings a stack of two services up, works in it, and takes all of it down', async () => {
      const sandbox = await create('webAndData');
      expect(sandbox.status).toMatchObject({ state: 'ready', extension_id: 'ext.compose-ssh' });
      expect(sandbox.status.reachability).toMatchObject({
        ssh: `root@${host(0).address}`,
        remote_dir: `/tmp/sandboxer/${sandbox.id}`,
        compose_project: `sbx-${sandbox.id}`,
      });
      expect(sandbox.status.telemetry?.host).toBe('host1');
      const answer = await sandbox.run(['sh', '-c', 'data-ask data "SET k hello"; data-ask data "GET k"']);
      expect(answer.stdout).toBe('OK\nhello\n');
      expect((await host(0).run(['cat', `/tmp/sandboxer/${sandbox.id}/README.md`])).stdout).toContain('lab');
      await sandbox.destroy();
    }, 60_000);

    it('publishes no port and has no way out, whatever the file says', async () => {
      const sandbox = await create('publishesPort');
      const { stdout } = await host(0).run(['sh', '-c', 'netstat -ltn 2>/dev/null || ss -ltn']);
      expect(stdout).not.toContain(':8080');
      await using outside = await listen();
      const ask = ['sh', '-c', `echo hello | nc -w 2 ${outside.address(host(0))} ${outside.port}`];
      await host(0).run(['busybox', ...ask]);
      expect(outside.heard(), 'the host itself gets out').toBe(1);
      await sandbox.run(ask, { timeout_ms: 10_000 });
      expect(outside.heard()).toBe(1);
      await sandbox.destroy();
    }, 60_000);

    it('ends a command in time, and reads a directory, though the shell of the container does not obey', async () => {
      const sandbox = await create('web');
      const shell = '#!/bin/busybox sh\necho 1\nexec busybox sleep 1000\n';
      await sandbox.writeFile('/bin/obstinate', Buffer.from(shell), '755');
      await sandbox.run(['busybox', 'mv', '-f', '/bin/obstinate', '/bin/sh']);
      const began = performance.now();
      const ended = await sandbox.run(['true'], { timeout_ms: 1_000 });
      expect(ended.exitCode).toBe(137);
      expect(performance.now() - began).toBeLessThan(8_000);
      await sandbox.destroy();
    }, 60_000);

    it('keeps what is there from other users of the host, and removes the images that it built', async () => {
      const path = repository('web');
      writeFileSync(join(path, 'Dockerfile'), `FROM ${WEB_IMAGE}\nRUN echo built > /www/built\n`);
      writeFileSync(
        join(path, 'e2e/compose.yml'),
        `services: {web: {build: .., image: "${WEB_IMAGE}", pull_policy: build}}\n`,
      );
      const images = async () =>
        (await host(0).docker('images', '-q', '--no-trunc')).stdout.split('\n').sort();
      const before = await images();
      const sandbox = await sandboxer.create({ profile: E2E, inputs: { repo: path }, host: 'host1' });
      expect((await sandbox.run(['cat', '/www/built'])).stdout).toBe('built\n');
      expect((await host(0).run(['stat', '-c', '%a', host(0).baseDirectory])).stdout).toBe('700\n');
      await sandbox.destroy();
      expect(await images()).toEqual(before);
    }, 60_000);

    const refused: [StackName, RegExp][] = [
      ['privileged', /compose\.yml:\d+: .*privileged/],
      ['bindsRoot', /compose\.yml:\d+: /],
      ['bindsEngineSocket', /compose\.yml:\d+: /],
      ['hostNetwork', /compose\.yml:\d+: /],
      ['hostPid', /compose\.yml:\d+: /],
      ['addsCapability', /compose\.yml:\d+: /],
      ['crashLoop', /does not stay up: web .*about to crash/],
      ['unhealthy', /unhealthy: web/],
      ['missingImage', /does not come up/],
    ];
    for (const [stack, sentence] of refused) {
      it(`says why ${stack} cannot be, and leaves nothing`, async () => {
        await expect(create(stack)).rejects.toThrow(sentence);
      }, 60_000);
    }

    it('gives the last slot of a host to one of two', async () => {
      await sandboxer.transport.call('hosts_add', {
        name: 'narrow',
        ssh: `root@${host(1).address}`,
        key_file: place.lab.keyFile,
        slots: 1,
      });
      const both = await Promise.allSettled([create('web', 'narrow'), create('web', 'narrow')]);
      const made = both.filter((one) => one.status === 'fulfilled');
      const lost = both.filter((one) => one.status === 'rejected');
      expect(made).toHaveLength(1);
      expect(String(lost[0]?.reason)).toMatch(/slot/);
      await made[0]!.value.destroy();
      await sandboxer.transport.call('hosts_remove', { name: 'narrow' });
    }, 60_000);
  });

  describe('what hosts do', () => {
    afterEach(async () => {
      await destroyEverything(sandboxer);
      await until('nothing is left', async () => {
        const entries = [host(0), host(1)].flatMap((one) => one.baseEntries());
        return entries.length === 0 && (await host(0).composeProjects()).length === 0;
      });
      await expectNothingLeft();
    }, 120_000);

    /** Whatever it ends as, it ends, says why, and is cleaned up as soon as the host can be reached. */
    async function endsClean(making: Promise<{ destroy(): Promise<unknown> }>): Promise<string> {
      try {
        await (await making).destroy();
        return '';
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
    }

    it('sshd killed while the stack comes up', async () => {
      const making = create('webAndData');
      await until('the directory is there', async () => host(0).baseEntries().length > 0);
      await host(0).stopSshd();
      await host(0).killSshdSessions();
      await sleep(1_000);
      await host(0).startSshd();
      await endsClean(making);
    }, 120_000);

    it('the cable pulled while the stack comes up, and put back', async () => {
      const making = create('webAndData');
      await until('containers are there', async () => (await host(0).containers()).length > 0);
      await host(0).linkDown();
      await sleep(3_000);
      await host(0).linkUp();
      await endsClean(making);
    }, 180_000);

    it('the cable pulled in the middle of an upload, and put back', async () => {
      const path = repository('web');
      writeFileSync(join(path, 'large'), randomBytes(LARGE_BYTES));
      try {
        const making = create('web');
        making.catch(() => undefined); // told below
        // Below the workspace is the large file, or what will become it.
        const workspaces = () =>
          host(0)
            .baseEntries()
            .filter((name) => name !== '.sandboxer');
        const inside = (name: string) => host(0).outsidePath(join(host(0).baseDirectory, name));
        const isBegun = async () =>
          workspaces().some((name) => readdirSync(inside(name)).some((file) => file.includes('large')));
        await until('some of it is there', isBegun, { everyMs: 5 });
        await host(0).linkDown();
        await host(0).killSshdSessions();
        await host(0).linkUp();
        // It may have begun again by itself; then all of it is there.
        const [made] = await Promise.allSettled([making]);
        if (made.status === 'rejected')
          expect(made.reason).toMatchObject({ code: expect.stringMatching(/^backend_/) });
        else expect(statSync(join(inside(made.value.id), 'large')).size).toBe(LARGE_BYTES);
      } finally {
        rmSync(join(path, 'large'));
      }
    }, 180_000);

    it('the engine stopped', async () => {
      await host(0).stopEngine();
      expect(await endsClean(create('web'))).toMatch(/engine does not answer|No backend can take/);
      await host(0).startEngine();
    }, 60_000);

    it('the disk full', async () => {
      await host(0).fillDisk();
      expect(await endsClean(create('web'))).toMatch(/disk is full|no space/i);
      await host(0).freeDisk();
    }, 60_000);

    it('the host key changed', async () => {
      const line = await host(0).changeHostKey();
      await host(0).killSshdSessions();
      await sleep(200);
      expect(await endsClean(create('web'))).toMatch(/host key .*changed/i);
      const known = readFileSync(place.lab.knownHostsFile, 'utf8').split('\n');
      const others = known.filter((one) => !one.includes(host(0).address));
      writeFileSync(place.lab.knownHostsFile, [...others, line, ''].join('\n'));
    }, 60_000);
  });
});
