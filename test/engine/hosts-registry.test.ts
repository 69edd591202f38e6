/** Hosts are registered, checked, drained and forgotten; a name in the file is the file's, and the environment is over all. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { type HostsBench, openHostsBench, PROFILE } from './hosts-bench.ts';

let bench: HostsBench;
const open = async (variables: Record<string, string> = {}) => {
  bench = await openHostsBench(variables);
  return bench;
};
afterEach(() => bench[Symbol.asyncDispose]());

const create = (host?: string) =>
  bench.sandboxer.create({ profile: PROFILE, ...(host === undefined ? {} : { host }) });
const writeFile = (...lines: string[]) =>
  writeFileSync(join(bench.home, 'hosts.yaml'), `${lines.join('\n')}\n`);

describe('registering a host', () => {
  it('keeps everything that was said of it, through a restart', async () => {
    const { home, world } = await open();
    const given = {
      ssh: 'deploy@[fd00::5]:2222',
      key_file: '/keys/build',
      jump: 'jump@gate:22',
      compose_command: 'podman compose',
      base_directory: '/srv/boxes',
      slots: 4,
      labels: { zone: 'lab' },
      price_micro_usd_per_hour: 5,
    } as const;
    const shown = { ...given, name: 'h1', local: false, slots_used: 0, draining: false, source: 'added' };
    expect(await bench.call('hosts_add', { name: 'h1', ...given })).toEqual(shown);
    await bench[Symbol.asyncDispose]();
    bench = await openHostsBench({}, home, world);
    expect((await bench.call('hosts_list', {})).items).toEqual([shown]);
  });

  const wrong: [string, object, RegExp][] = [
    ['neither way', {}, /either --ssh user@host, or --local/],
    ['both ways', { ssh: 'a@b', local: true }, /either --ssh user@host, or --local/],
    ['a key for this machine', { local: true, key_file: '/k' }, /go with --ssh/],
    ['an option as its address', { ssh: '-oProxyCommand=x' }, /must look like/],
    ['a port that is none', { ssh: 'a@b:99999' }, /must look like/],
    ['an engine that is none', { local: true, compose_command: 'rm -rf' }, /compose_command/],
    ['no slots', { local: true, slots: 0 }, /slots/],
  ];
  for (const [what, given, said] of wrong) {
    it(`refuses ${what}`, async () => {
      await open();
      const added = bench.call('hosts_add', { name: 'h1', ...given } as never);
      await expect(added).rejects.toMatchObject({
        code: 'invalid_request',
        message: expect.stringMatching(said),
      });
      expect((await bench.call('hosts_list', {})).items).toEqual([]);
    });
  }

  it('again changes it, but not where it leads while a sandbox is there', async () => {
    await open();
    await bench.addHost('h1', { slots: 2 });
    await bench.call('hosts_drain', { name: 'h1' });
    await bench.call('hosts_drain', { name: 'h1', undo: true });
    const sandbox = await create('h1');
    expect(await bench.addHost('h1', { slots: 5 })).toMatchObject({ slots: 5, slots_used: 1 });
    const moved = bench.addHost('h1', { ssh: 'deploy@elsewhere' });
    await expect(moved).rejects.toMatchObject({ code: 'state_conflict', message: /One sandbox is on h1/ });
    await sandbox.destroy();
    expect(await bench.addHost('h1', { ssh: 'deploy@elsewhere' })).toMatchObject({ ssh: 'deploy@elsewhere' });
  });
});

describe('removing a host', () => {
  it('is refused while sandboxes are there, says how many and what to do, and works after', async () => {
    await open();
    await bench.addHost('h1');
    const sandboxes = [await create(), await create()];
    const refused = { code: 'state_conflict', message: /2 sandboxes are on h1/, nextStep: /hosts drain h1/ };
    await expect(bench.call('hosts_remove', { name: 'h1' })).rejects.toMatchObject(refused);
    for (const sandbox of sandboxes) await sandbox.destroy();
    expect(await bench.call('hosts_remove', { name: 'h1' })).toEqual({ name: 'h1', removed: true });
    await expect(bench.call('hosts_remove', { name: 'h1' })).rejects.toMatchObject({ code: 'unknown_host' });
  });

  it('of many creates and a removal at once leaves no sandbox on a host that is gone', async () => {
    const { composed } = await open();
    await bench.addHost('h1');
    const removal = () => bench.call('hosts_remove', { name: 'h1' });
    const results = await Promise.allSettled([create(), removal(), create(), removal(), create()]);
    const placed = await composed.engine.context.store.hostSlotsUsed('h1');
    const gone = (await composed.engine.context.hosts.get('h1')) === null;
    expect(gone && placed > 0).toBe(false);
    expect(results.some(({ status }) => status === 'fulfilled')).toBe(true);
  });

  it('is refused while a failed sandbox may still have something there', async () => {
    const { world, composed } = await open();
    await bench.addHost('h1');
    world.failing.add('h1');
    const extension = await composed.engine.context.extensions.load('ext.hosted');
    const { destroy } = extension;
    extension.destroy = () => Promise.reject(new Error('the line is down'));
    const failed = create().catch((error: unknown) => error);
    const { store, clock } = composed.engine.context;
    while ((await store.listRuns(1))[0]?.slot !== null) await clock.sleep(10);
    expect(await store.hostSlotsUsed('h1')).toBe(0);
    const removal = bench.call('hosts_remove', { name: 'h1' });
    await expect(removal).rejects.toMatchObject({ code: 'state_conflict', message: /still being removed/ });
    extension.destroy = destroy;
    await failed;
    const { items } = await bench.sandboxer.list();
    await composed.engine.runner.idle(items[0]!.sandbox_id, AbortSignal.timeout(10_000));
    expect(await bench.call('hosts_remove', { name: 'h1' })).toMatchObject({ removed: true });
  });
});

describe('checking hosts', () => {
  it('asks each now and says why one cannot take work', async () => {
    const { world } = await open();
    for (const name of ['h1', 'h2', 'h3']) await bench.addHost(name);
    world.load('h1', 0.25);
    world.states.set('h2', { ok: false, reason: 'the key was refused', loadPerCpu: null });
    world.silent.add('h3');
    const { ok, items } = await bench.call('hosts_check', {});
    expect(ok).toBe(false);
    expect(items.map((item) => [item.name, item.ok, item.load_per_cpu])).toEqual([
      ['h1', true, 0.25],
      ['h2', false, null],
      ['h3', false, null],
    ]);
    expect(items[0]).toMatchObject({ extension_id: 'ext.hosted', telemetry: { cpu_count: 4 } });
    expect(items.map(({ reason }) => reason)).toEqual([
      null,
      'the key was refused',
      'It did not answer within 10 s.',
    ]);
    expect((await bench.call('hosts_check', { name: 'h1' })).items).toHaveLength(1);
    await expect(bench.call('hosts_check', { name: 'h4' })).rejects.toMatchObject({ code: 'unknown_host' });
  });

  it('inspect measures each host, and a report measures the one the sandbox is on', async () => {
    const { world } = await open();
    await bench.addHost('h1');
    await bench.addHost('h2');
    const { items } = await bench.call('inspect_host', {});
    expect(items.map(({ host, telemetry }) => [host, telemetry?.cpu_count])).toEqual([
      ['h1', 4],
      ['h2', 4],
    ]);
    bench.profile('{}', 'extension: ext.hosted\ntelemetry: true');
    world.measured.length = 0;
    const { status } = await create('h2');
    expect(new Set(world.measured)).toEqual(new Set(['h2']));
    expect(status.telemetry).toMatchObject({ host: 'h2' });
  });

  it('extensions list counts the slots of all hosts', async () => {
    await open();
    await bench.addHost('h1', { slots: 3 });
    await bench.addHost('h2', { slots: 4 });
    await create();
    const { items } = await bench.call('extensions_list', {});
    expect(items[0]).toMatchObject({ slots: 7, slots_used: 1 });
  });
});

describe('hosts.yaml', () => {
  it('registers hosts, read again when it changes; they cannot be changed here, but drained', async () => {
    await open();
    writeFile(
      '- {name: box, ssh: {user: deploy, address: box.example.org}, slots: 2}',
      '- {name: here, ssh: null}',
    );
    const { items } = await bench.call('hosts_list', {});
    expect(items.map(({ name, source, local }) => [name, source, local])).toEqual([
      ['box', 'file', false],
      ['here', 'file', true],
    ]);
    const refused = { code: 'state_conflict', message: expect.stringContaining('hosts.yaml') };
    await expect(bench.addHost('box')).rejects.toMatchObject(refused);
    await expect(bench.call('hosts_remove', { name: 'box' })).rejects.toMatchObject(refused);
    await bench.call('hosts_drain', { name: 'box' });
    expect((await create()).status.reachability?.host).toBe('here');
    await expect(create('box')).rejects.toMatchObject({ code: 'no_candidate' });
    await bench.call('hosts_drain', { name: 'box', undo: true });
    expect((await create('box')).status.reachability?.host).toBe('box');
    await create('box');
    await expect(create('box')).rejects.toMatchObject({ code: 'quota_exceeded' });
    writeFile('- {name: box, ssh: {address: box.example.org}, slots: 3, draining: true}');
    const undone = bench.call('hosts_drain', { name: 'box', undo: true });
    await expect(undone).rejects.toMatchObject(refused);
    expect((await bench.call('hosts_list', {})).items).toHaveLength(1);
  });

  it('wins over a host of the same name that was added before', async () => {
    await open();
    await bench.addHost('box', { slots: 9 });
    writeFile('- {name: box, ssh: null, slots: 1}');
    expect((await bench.call('hosts_list', {})).items).toMatchObject([
      { slots: 1, local: true, source: 'file' },
    ]);
    await create('box');
    await expect(create('box')).rejects.toMatchObject({ code: 'quota_exceeded' });
  });

  const broken: [string, string[], RegExp][] = [
    [
      'an unknown field',
      ['- name: box', '  ssh: null', '  slot: 3'],
      /hosts\.yaml:3:3 there is no field "slot" in 0; did you mean "slots"\?/,
    ],
    [
      'an unknown field inside',
      ['- {name: box, ssh: {adress: x}}'],
      /hosts\.yaml:1:\d+ .*did you mean "address"\?/,
    ],
    ['a wrong type', ['- {name: box, ssh: null, slots: many}'], /hosts\.yaml:1:\d+ 0\.slots: /],
    [
      'a name twice',
      ['- {name: box, ssh: null}', '- {name: box, ssh: null}'],
      /hosts\.yaml:2:10 1\.name: "box" is there twice/,
    ],
    ['no list', ['name: box'], /hosts\.yaml:1:1 hosts: /],
  ];
  for (const [what, lines, problem] of broken) {
    it(`with ${what} is refused with place and reason, also by doctor`, async () => {
      await open();
      writeFile(...lines);
      const refused = { code: 'invalid_hosts', message: expect.stringMatching(problem) };
      await expect(bench.call('hosts_list', {})).rejects.toMatchObject(refused);
      await expect(create()).rejects.toMatchObject(refused);
      const { findings } = await bench.call('doctor', {});
      expect(findings.find(({ check }) => check === 'hosts')).toMatchObject({ status: 'failed' });
    });
  }
});

describe('a link to a host', () => {
  it('is there for this machine, the same one while nothing changes, and ends with the control plane', async () => {
    const { composed } = await open();
    await bench.call('hosts_add', { name: 'here', local: true });
    const { hosts } = composed.engine.context;
    const link = hosts.link((await hosts.get('here'))!);
    expect(hosts.link((await hosts.get('here'))!)).toBe(link);
    const ran = await link.run({ command: ['printf', '%s', 'a b'], timeoutMs: 60_000 });
    expect(ran).toEqual({ exitCode: 0, stdout: 'a b', stderr: '' });
  });
});

describe('the environment', () => {
  it('puts user, key and compose command over every host, without storing them', async () => {
    const variables = {
      SANDBOXER_SSH_USER: 'ci',
      SANDBOXER_SSH_KEY: '/keys/ci',
      SANDBOXER_COMPOSE_CMD: 'docker-compose',
    };
    const { home, world } = await open(variables);
    const own = { ssh: 'deploy@box', key_file: '/keys/own', compose_command: 'podman compose' } as const;
    await bench.addHost('box', own);
    await bench.call('hosts_add', { name: 'here', local: true });
    const { hosts } = bench.composed.engine.context;
    const seen = await hosts.list();
    expect(seen[0]).toMatchObject({
      ssh: { user: 'ci', key_file: '/keys/ci' },
      compose_command: 'docker-compose',
    });
    expect(seen[1]).toMatchObject({ ssh: null, compose_command: 'docker-compose' });
    await bench[Symbol.asyncDispose]();
    bench = await openHostsBench({ SANDBOXER_SSH_USER: '' }, home, world);
    expect((await bench.call('hosts_list', {})).items[0]).toMatchObject(own);
  });

  const wrong: [string, string][] = [
    ['SANDBOXER_SSH_USER', '-oProxyCommand=x'],
    ['SANDBOXER_COMPOSE_CMD', 'docker compose; rm -rf /'],
  ];
  for (const [variable, value] of wrong) {
    it(`with ${variable}=${value} is refused`, async () => {
      await open();
      const attempt = openHostsBench({ [variable]: value });
      const refused = { code: 'invalid_request', message: expect.stringContaining(variable) };
      await expect(attempt).rejects.toMatchObject(refused);
    });
  }
});
