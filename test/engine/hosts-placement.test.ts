/** A sandbox is placed where the request, the profile and the hosts allow it, and nowhere else; slots are never oversold. */
import { afterEach, describe, expect, it } from 'vitest';
import { SandboxerError } from '../../src/domain/errors.ts';
import { backendName } from '../../src/domain/ids.ts';
import { type HostsBench, openHostsBench, PROFILE } from './hosts-bench.ts';

let bench: HostsBench;
const open = async (
  variables: Record<string, string> = {},
  hosts: readonly string[] = ['h1', 'h2', 'h3'],
) => {
  bench = await openHostsBench(variables);
  for (const host of hosts) await bench.addHost(host);
  return bench;
};
afterEach(() => bench[Symbol.asyncDispose]());

const create = (host?: string) =>
  bench.sandboxer.create({ profile: PROFILE, ...(host === undefined ? {} : { host }) });
const reasonOf = async (host: string) =>
  (await bench.route()).candidates.find((candidate) => candidate.host === host)?.reason;

describe('a placement', () => {
  it('goes to the host that the request names, and is found there', async () => {
    const { world, composed } = await open();
    const sandbox = await create('h2');
    expect(sandbox.status).toMatchObject({ extension_id: 'ext.hosted', reachability: { host: 'h2' } });
    expect(world.on('h2')).toEqual([backendName(sandbox.id, 1)]);
    const record = await composed.engine.context.store.getSandbox(sandbox.id);
    expect(record).toMatchObject({ slot: 'ext.hosted@h2', spec: { placement: { host: 'h2' } } });
    const [asked, other] = sandbox.status.route.candidates;
    expect(asked).toMatchObject({ host: 'h2', chosen: true });
    expect(other).toMatchObject({ host: 'h1', chosen: false, reason: 'the request names another host' });
    expect(world.asked).toEqual(['h2']);
  });

  it('takes the least loaded host where the profile names none', async () => {
    const { world } = await open();
    world.load('h1', 0.9);
    world.load('h2', 0.2);
    world.load('h3', 0.5);
    expect((await bench.route()).order).toEqual(['ext.hosted@h2', 'ext.hosted@h3', 'ext.hosted@h1']);
  });

  it('keeps to the hosts of the profile, preferred ones first, whatever their load', async () => {
    const { world, profile } = await open();
    profile('{prefer: [h3], fallback: [h1, nowhere]}');
    world.load('h3', 5);
    const route = await bench.route();
    expect(route.order).toEqual(['ext.hosted@h3', 'ext.hosted@h1']);
    expect(route.candidates.map(({ host }) => host)).toEqual(['h3', 'h1', 'nowhere']);
    expect(await reasonOf('nowhere')).toBe('is not registered on this installation');
  });

  it('leaves out what is not well or silent, with what it said, and asks again only later', async () => {
    const { world, composed } = await open();
    world.states.set('h1', { ok: false, reason: 'the engine is stopped', loadPerCpu: null });
    world.silent.add('h2');
    expect((await bench.route()).order).toEqual(['ext.hosted@h3']);
    expect(await reasonOf('h1')).toBe('the engine is stopped');
    expect(await reasonOf('h2')).toMatch(/did not answer within 5 s/);
    world.silent.clear();
    await composed.engine.context.clock.sleep(5_100);
    const before = world.asked.length;
    await create('h2');
    await create('h2');
    expect(world.asked.length - before).toBe(1);
  });

  it('holds the price limit against the price of a host, and counts it in the estimate', async () => {
    await open({}, ['h1']);
    await bench.addHost('dear', { price_micro_usd_per_hour: 2_000_000 });
    bench.profile('{prefer: [dear, h1]}');
    expect((await create('dear')).status.meter.estimate_usd).toBe(2);
    const limited =
      'route: {strategy: prefer-self-hosted, extensions: [ext.hosted], max_cost_per_hour_usd: 1}';
    bench.profile('{prefer: [dear, h1]}', limited);
    expect((await bench.route()).order).toEqual(['ext.hosted@h1']);
    expect(await reasonOf('dear')).toBe('costs 2 USD/h, over the limit of 1');
  });

  it('puts nothing new on a draining host, and lets what is there go on', async () => {
    const { world } = await open({}, ['h1', 'h2']);
    const old = await create('h1');
    await bench.call('hosts_drain', { name: 'h1' });
    expect((await create()).status.reachability?.host).toBe('h2');
    expect(await reasonOf('h1')).toBe('is draining: nothing new is placed there');
    await expect(create('h1')).rejects.toMatchObject({ code: 'no_candidate', message: /draining/ });
    expect((await old.recreate()).status.reachability?.host).toBe('h1');
    await bench.call('hosts_drain', { name: 'h1', undo: true });
    world.load('h2', 9);
    expect((await create('h1')).status.reachability?.host).toBe('h1');
  });

  it('refuses a draining host even where it began to drain after the decision', async () => {
    const { composed } = await open({}, ['h1']);
    const { engine } = composed;
    const { transaction } = engine.context.store;
    let drained = false;
    engine.context.store.transaction = (work) =>
      transaction(async (inside) => {
        const stored = await inside.getHost('h1');
        if (!drained) await inside.putHost({ ...stored!, host: { ...stored!.host, draining: true } });
        drained = true;
        return work(inside);
      });
    await expect(create()).rejects.toMatchObject({ code: 'no_candidate', message: /draining/ });
  });

  it('says that there is no host of a name, and which may have been meant', async () => {
    await open({}, ['build1']);
    const refused = { code: 'unknown_host', nextStep: 'Did you mean build1?' };
    await expect(create('biuld1')).rejects.toMatchObject(refused);
    const explained = bench.call('route_explain', { profile: PROFILE, host: 'biuld1' });
    await expect(explained).rejects.toMatchObject(refused);
  });

  it('says what the backend refuses, whichever hosts are left out besides', async () => {
    await open();
    await bench.call('hosts_drain', { name: 'h2' });
    for (const host of [undefined, 'h1']) {
      const wish = { profile: PROFILE, inputs: { wish: 'x' }, ...(host === undefined ? {} : { host }) };
      const refused = bench.sandboxer.create(wish);
      await expect(refused).rejects.toMatchObject({ code: 'invalid_input', message: 'no wishes' });
    }
  });

  it('says how to register one where there is none', async () => {
    await open({}, []);
    const refused = { code: 'no_candidate', nextStep: expect.stringContaining('sandboxer hosts add') };
    await expect(create()).rejects.toMatchObject(refused);
  });
});

describe('slots of a host (P4)', () => {
  const codes = (results: readonly PromiseSettledResult<unknown>[]) =>
    results.map((result) =>
      result.status === 'fulfilled'
        ? 'ok'
        : result.reason instanceof SandboxerError
          ? result.reason.code
          : String(result.reason),
    );
  const many = (count: number) =>
    Promise.allSettled(Array.from({ length: count }, () => create())).then(codes);

  it('of 20 creates at once on a host with 3 slots exactly 3 succeed', async () => {
    const { world, composed } = await open({}, []);
    await bench.addHost('h1', { slots: 3 });
    const results = await many(20);
    expect(results.filter((code) => code === 'ok')).toHaveLength(3);
    expect(results.filter((code) => code === 'quota_exceeded')).toHaveLength(17);
    expect(world.on('h1')).toHaveLength(3);
    expect(await composed.engine.context.store.slotsUsed('ext.hosted@h1')).toBe(3);
  });

  it('of 20 creates at once each goes to the next host when one fills up, and its route says so', async () => {
    const { world } = await open({}, []);
    await bench.addHost('h1', { slots: 3 });
    await bench.addHost('h2', { slots: 30 });
    bench.profile('{prefer: [h1, h2]}');
    expect(new Set(await many(20))).toEqual(new Set(['ok']));
    expect([world.on('h1').length, world.on('h2').length]).toEqual([3, 17]);
    const { items } = await bench.sandboxer.list();
    for (const { reachability, route } of items) {
      expect(route.candidates.find(({ chosen }) => chosen)?.host).toBe(reachability?.host);
      expect(route.order[0]).toBe(`ext.hosted@${reachability?.host}`);
    }
    const moved = items.find(({ reachability }) => reachability?.host === 'h2')!;
    expect(moved.route.candidates[0]?.reason).toMatch(/filled up while|all slots are taken/);
  });

  it('come back when a sandbox goes', async () => {
    const { composed } = await open({}, []);
    await bench.addHost('h1', { slots: 1 });
    const sandbox = await create();
    await expect(create()).rejects.toMatchObject({ code: 'quota_exceeded' });
    await sandbox.destroy();
    expect(await composed.engine.context.store.hostSlotsUsed('h1')).toBe(0);
    await create();
  });
});

describe('a failover', () => {
  it('goes to the next host of the same extension, which the record then names', async () => {
    const { world, composed } = await open();
    bench.profile('{prefer: [h1, h2]}');
    world.failing.add('h1');
    const sandbox = await create();
    expect(sandbox.status).toMatchObject({
      epoch: 2,
      reachability: { host: 'h2' },
      isolation: { degraded: [{ rule: 'placed', reason: 'on h2' }] },
    });
    expect(world.on('h2')).toEqual([backendName(sandbox.id, 2)]);
    const { store } = composed.engine.context;
    const record = await store.getSandbox(sandbox.id);
    expect(record).toMatchObject({ slot: 'ext.hosted@h2', spec: { placement: { host: 'h2' } } });
    expect([await store.hostSlotsUsed('h1'), await store.hostSlotsUsed('h2')]).toEqual([0, 1]);
    const events = await store.listEvents(sandbox.id, 0, 50);
    const detail = { from: 'ext.hosted@h1', to: 'ext.hosted@h2', why: 'H1 starts nothing.' };
    expect(events.find(({ type }) => type === 'failed_over')?.detail).toEqual(detail);
  });

  it('passes over a host that filled up meanwhile', async () => {
    const { world, composed } = await open({}, ['h1', 'h3']);
    await bench.addHost('h2', { slots: 1 });
    bench.profile('{prefer: [h1, h2, h3]}');
    world.failing.add('h1');
    world.onProvision = async (host) => {
      if (host !== 'h1') return;
      await composed.engine.context.store.transaction((inside) => inside.takeSlot('ext.hosted@h2', 1));
    };
    expect((await create()).status.reachability?.host).toBe('h3');
  });

  it('ends with the last host, leaves nothing, and holds no slot', async () => {
    const { world, composed } = await open({}, ['h1', 'h2']);
    world.failing.add('h1').add('h2');
    await expect(create()).rejects.toMatchObject({ code: 'backend_unavailable' });
    expect(world.things.size).toBe(0);
    expect(await composed.engine.context.store.countLive()).toBe(0);
  });

  it('cools one host down after failures, not the extension', async () => {
    const { world } = await open({}, ['h1', 'h2']);
    bench.profile('{prefer: [h1, h2]}');
    world.failing.add('h1');
    for (let attempt = 0; attempt < 3; attempt += 1) await create();
    expect((await bench.route()).order).toEqual(['ext.hosted@h2']);
    expect(await reasonOf('h1')).toMatch(/cooling down after failures/);
  });
});

describe('SANDBOXER_HOST', () => {
  it('names the host of requests that name none', async () => {
    await open({ SANDBOXER_HOST: 'h3' });
    expect((await create()).status.reachability?.host).toBe('h3');
    expect(await reasonOf('h1')).toBe('SANDBOXER_HOST names another host');
    expect((await create('h1')).status.reachability?.host).toBe('h1');
  });

  it('may be an address that nobody registered, whose sandbox is found again without it', async () => {
    const { home, world } = await open({ SANDBOXER_HOST: 'deploy@10.0.0.5:2222' }, []);
    const sandbox = await create();
    expect(sandbox.status.reachability?.host).toBe('deploy@10.0.0.5:2222');
    expect((await create('deploy@10.0.0.5:2222')).status.state).toBe('ready');
    await bench[Symbol.asyncDispose]();
    bench = await openHostsBench({}, home, world);
    const { hosts } = bench.composed.engine.context;
    const ssh = { user: 'deploy', address: '10.0.0.5', port: 2222, key_file: null, jump: null };
    expect(await hosts.get('deploy@10.0.0.5:2222')).toMatchObject({ ssh });
    await expect(create('deploy@10.0.0.5:2222')).rejects.toMatchObject({ code: 'unknown_host' });
    await expect(create()).rejects.toMatchObject({ code: 'no_candidate' });
    expect((await (await bench.sandboxer.get(sandbox.id)).destroy()).state).toBe('destroyed');
  });

  it('that is neither a name nor an address is refused', async () => {
    await open({ SANDBOXER_HOST: 'not a host' });
    await expect(create()).rejects.toMatchObject({ code: 'unknown_host', message: /SANDBOXER_HOST/ });
  });
});
