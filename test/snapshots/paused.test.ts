/** A stack that stands still while it is copied: of one moment, and never longer than its host allows. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Sandboxer } from '../../src/faces/library/index.ts';
import type { ControlPlaneOrder } from '../crash/control-plane.ts';
import type { LabHost } from '../lab/host.ts';
import { writeRepository } from '../lab/stacks.ts';
import { type ComposeHome, openComposeHome } from '../standins/compose-home.ts';
import { destroyAll } from '../standins/destroy-all.ts';
import { HeldTar } from '../standins/held-tar.ts';

const profile = (name: string, config: string) => `id: profile.${name}
version: "1.0.0"
extension: ext.compose-ssh
isolation: {level: container}
ttl: {default: 10m, max: 1h}
config: ${config}
`;

describe.runIf(process.getuid?.() === 0)('a snapshot of a stack that is paused for it', () => {
  let place: ComposeHome;
  let host: LabHost;
  let tar: HeldTar;
  let repository: string;

  beforeAll(async () => {
    place = await openComposeHome(1);
    host = place.lab.hosts[0]!;
    tar = new HeldTar(host);
    await tar.install();
    await host.useDisk(256);
    repository = mkdtempSync(join(tmpdir(), 'sbx-paused-'));
    writeRepository(repository, 'writesBoth');
    const configurations = { paused: '{snapshot: paused}', hasty: '{snapshot: paused, pause_max_s: 5}' };
    for (const [name, config] of Object.entries(configurations))
      writeFileSync(join(place.home, 'profiles', `profile.${name}.yaml`), profile(name, config));
    const local = profile('local-paused', '{snapshot: paused}').replace('ext.compose-ssh', 'ext.local');
    const process = local.replace('container', 'process');
    writeFileSync(join(place.home, 'profiles', 'profile.local-paused.yaml'), process);
  });
  afterAll(async () => {
    await place.lab.stop();
    for (const path of [place.home, repository]) rmSync(path, { recursive: true, force: true });
  });
  afterEach(async () => {
    await tar.letGo();
    await destroyAll(place.home, place.variables);
    const left = [await host.containers(), await host.volumes(), await host.networks(), host.baseEntries()];
    expect(left).toEqual([[], [], [], []]);
  });

  const connect = () => Sandboxer.connect({ environment: place.variables });
  const create = (sandboxer: Sandboxer, name: string) =>
    sandboxer.create({ profile: `profile.${name}`, inputs: { repo: repository } });
  const inWorkspace = ({ id }: { id: string }, path: string) => `/tmp/sandboxer/${id}/${path}`;
  const containerOf = async ({ id }: { id: string }) =>
    (await host.docker('ps', '-q', '--filter', `label=sandboxer.name=sbx-${id}`)).stdout.trim();
  const isPaused = async (sandbox: { id: string }) =>
    (await host.docker('inspect', '-f', '{{.State.Paused}}', await containerOf(sandbox))).stdout.trim() ===
    'true';
  /** It stays so: nobody has to look at the right moment. */
  const hasGoneOn = async ({ id }: { id: string }) =>
    (await host.run(['test', '-s', `/tmp/sandboxer/.sandboxer/${id}/held`])).exitCode === 0;
  const until = async (isSo: () => Promise<boolean> | boolean) => {
    while (!(await isSo())) await sleep(20);
  };
  const drafts = () => readdirSync(join(place.home, 'snapshots')).filter((name) => name.endsWith('.partial'));

  it('is of one moment, and the stack goes on', async () => {
    await using sandboxer = await connect();
    const source = await create(sandboxer, 'paused');
    const container = await containerOf(source);
    const counting = 'while :; do printf x >>/workspace/counter; printf x >>/data/counter; done';
    await host.docker('exec', '-d', container, 'sh', '-c', counting);
    await until(async () => (await host.run(['test', '-s', inWorkspace(source, 'counter')])).exitCode === 0);
    let base: string | null = null;
    for (const what of ['whole', 'changes']) {
      await tar.hold();
      const taken = source.snapshot();
      await until(() => isPaused(source));
      await tar.letGo();
      const { snapshot_id: id, based_on: basedOn } = await taken;
      expect(basedOn, what).toBe(base);
      base = id;
      expect((await source.refresh()).status.state).toBe('ready');
      expect(await isPaused(source)).toBe(false);
      const restored = await sandboxer.restore(id);
      const { stdout } = await restored.run(['stat', '-c', '%s', '/workspace/counter', '/data/counter']);
      const [inTheWorkspace, inTheVolume] = stdout.trim().split('\n').map(Number);
      expect(inTheWorkspace).toBeGreaterThan(0);
      expect(Math.abs(inTheWorkspace! - inTheVolume!), what).toBeLessThanOrEqual(1);
    }
  }, 120_000);

  it('ends with the reason when the time for it is over, and the stack goes on by itself', async () => {
    await using sandboxer = await connect();
    const source = await create(sandboxer, 'hasty');
    await tar.hold();
    const taken = source.snapshot().catch((error: unknown) => error);
    await until(() => hasGoneOn(source));
    await until(async () => !(await isPaused(source)));
    await tar.letGo();
    expect(await taken).toMatchObject({
      code: 'backend_unavailable',
      message: expect.stringMatching(/stood still for 5 s/),
    });
    expect(drafts()).toEqual([]);
    expect((await source.run(['true'])).exitCode).toBe(0);
  }, 120_000);

  it('is refused where somebody else let the stack go on meanwhile, as another snapshot of it does', async () => {
    await using sandboxer = await connect();
    const source = await create(sandboxer, 'paused');
    await tar.hold();
    const taken = source.snapshot().catch((error: unknown) => error);
    await until(() => isPaused(source));
    await host.docker('unpause', await containerOf(source));
    await tar.letGo();
    expect(await taken).toMatchObject({
      code: 'backend_unavailable',
      message: expect.stringMatching(/somebody else/),
    });
    expect(drafts()).toEqual([]);
  }, 120_000);

  it('goes on by itself after its host was cut off', async () => {
    await using sandboxer = await connect();
    const source = await create(sandboxer, 'hasty');
    await tar.hold();
    const taken = source.snapshot().catch((error: unknown) => error);
    await until(async () => (await isPaused(source)) || (await hasGoneOn(source)));
    await host.linkDown();
    await until(() => hasGoneOn(source));
    await until(async () => !(await isPaused(source)));
    await host.linkUp();
    await tar.letGo();
    expect(await taken).toMatchObject({ code: expect.stringMatching(/^backend_/) });
    expect(drafts()).toEqual([]);
  }, 120_000);

  it('goes on by itself after the process that took it was killed', async () => {
    let id = '';
    {
      await using sandboxer = await connect();
      id = (await create(sandboxer, 'paused')).id;
    }
    await tar.hold();
    const order = {
      operation: 'snapshot',
      input: { id },
      key: 'one',
      crashAt: null,
      resume: false,
      staysUp: true,
    } as const;
    const script = join(import.meta.dirname, '..', 'crash', 'control-plane.ts');
    const words = [script, JSON.stringify(order satisfies ControlPlaneOrder)];
    const child = spawn(process.execPath, words, { env: { ...place.variables }, stdio: 'ignore' });
    const ended = new Promise((resolve) => child.once('close', resolve));
    await until(() => isPaused({ id }));
    child.kill('SIGKILL');
    await ended;
    await until(async () => !(await isPaused({ id })));
    await tar.letGo();
    await using sandboxer = await connect();
    const source = await sandboxer.get(id);
    expect((await source.run(['true'])).exitCode).toBe(0);
    expect((await source.snapshot()).sandbox_id).toBe(id);
  }, 120_000);

  it('can be destroyed meanwhile', async () => {
    await using sandboxer = await connect();
    const source = await create(sandboxer, 'paused');
    await tar.hold();
    const taken = source.snapshot().catch((error: unknown) => error);
    await until(() => isPaused(source));
    await source.destroy();
    await tar.letGo();
    expect(await taken).toMatchObject({ code: 'state_conflict' });
  }, 120_000);

  it('is refused where a backend knows no such thing', async () => {
    await using sandboxer = await connect();
    const refused = await sandboxer
      .create({ profile: 'profile.local-paused' })
      .catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: 'invalid_input',
      message: expect.stringMatching(/ext\.local.*snapshot/),
    });
  });
});
