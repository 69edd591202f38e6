/** P5, P6 (T5): what ends a sandbox, when, and what does not. */
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { createSystemClock } from '../../src/adapters/clock/system-clock.ts';
import type { SandboxView } from '../../src/operations/view.ts';
import { type FaultBench, openFaultBench } from '../faults/bench.ts';

const PROFILE = { profile: 'profile.simulated' };
let bench: FaultBench | null = null;
const open = async () => {
  bench = await openFaultBench();
  bench.composed.engine.startLoops();
  return bench;
};
afterEach(async () => {
  await bench?.[Symbol.asyncDispose]();
  bench = null;
});

async function untilOver(current: FaultBench, id: string): Promise<SandboxView> {
  for (;;) {
    const { status } = await current.sandboxer.get(id);
    if (status.state === 'destroyed') return status;
    await current.clock.sleep(50);
  }
}

async function typesOf(current: FaultBench, id: string): Promise<string[]> {
  const types: string[] = [];
  for await (const event of (await current.sandboxer.get(id)).events()) types.push(event.type);
  return types;
}

describe('the reaper', () => {
  it('ends a sandbox at its deadline, not before, and says so in events', async () => {
    const current = await open();
    const sandbox = await current.sandboxer.create({ ...PROFILE, ttl: '20s' });
    await untilOver(current, sandbox.id);
    const { items } = { items: await current.composed.engine.context.store.listEvents(sandbox.id, 0, 100) };
    const expired = items.find(({ type }) => type === 'time_ran_out')!;
    const lateMs = expired.atMs - Date.parse(sandbox.status.expires_at!);
    expect(lateMs).toBeGreaterThanOrEqual(0);
    expect(lateMs).toBeLessThan(5_000);
    expect(expired.detail).toEqual({ cause: 'ttl' });
    expect((await typesOf(current, sandbox.id)).slice(-3)).toEqual([
      'time_ran_out',
      'destroy_started',
      'absence_proven',
    ]);
    expect(current.things()).toEqual([]);
  });

  it('wakes for a deadline that is nearer than the one it sleeps for', async () => {
    const current = await open();
    await current.sandboxer.create({ ...PROFILE, ttl: '10m' });
    const short = await current.sandboxer.create({ ...PROFILE, ttl: '5s' });
    expect((await untilOver(current, short.id)).state).toBe('destroyed');
  });

  it('lets an extended one live on', async () => {
    const current = await open();
    const sandbox = await current.sandboxer.create({ ...PROFILE, ttl: '20s' });
    await sandbox.extend('10m');
    await current.clock.sleep(30_000);
    expect((await sandbox.refresh()).status.state).toBe('ready');
  });

  it('never extends past ttl.max, and says why it was cut (P6)', async () => {
    const current = await open();
    const sandbox = await current.sandboxer.create(PROFILE);
    let view = sandbox;
    for (let round = 0; round < 5; round += 1) view = await sandbox.extend('20h');
    const lifeMs = Date.parse(view.status.expires_at!) - Date.parse(view.status.ready_at!);
    expect(lifeMs).toBe(24 * 3_600_000);
    expect(view.status.grant).toMatchObject({
      granted: null,
      cut_reason: expect.stringContaining('ttl.max'),
    });
  });

  it('reads do not move the clock', async () => {
    const current = await open();
    const sandbox = await current.sandboxer.create(PROFILE);
    await sandbox.refresh();
    await current.sandboxer.list();
    expect((await sandbox.refresh()).status.expires_at).toBe(sandbox.status.expires_at);
  });
});

describe('expire, the belt for schedulers', () => {
  it('shows without apply, ends with it', async () => {
    bench = await openFaultBench();
    const { sandboxer, clock } = bench;
    const sandbox = await sandboxer.create({ ...PROFILE, ttl: '1s' });
    await sandboxer.create(PROFILE);
    await clock.sleep(2_000);
    const transport = sandboxer.transport;
    expect((await transport.call('expire', {})).results).toEqual([
      {
        sandbox_id: sandbox.id,
        profile_id: 'profile.simulated',
        cause: 'ttl',
        result: 'dry-run',
        detail: null,
      },
    ]);
    expect((await transport.call('expire', { apply: true })).results[0]).toMatchObject({
      result: 'destroyed',
    });
    expect((await transport.call('expire', { apply: true })).results).toEqual([]);
  });
});

describe('the clock', () => {
  it('does not follow the machine when its time is set', async () => {
    const realNow = Date.now;
    const clock = createSystemClock();
    const before = clock.nowMs();
    try {
      for (const jumpMs of [1_000, -1_000, 3_600_000, 10 * 365 * 86_400_000]) {
        Date.now = () => realNow() + jumpMs;
        expect(Math.abs(clock.nowMs() - before)).toBeLessThan(2_000);
      }
    } finally {
      Date.now = realNow;
    }
  });

  it('sleeps longer than a timer can hold, and wakes when told', async () => {
    const clock = createSystemClock();
    const controller = new AbortController();
    const long = clock.sleep(2 ** 40, controller.signal);
    const outcome = await Promise.race([
      long.then(
        () => 'woke',
        () => 'aborted',
      ),
      clock.sleep(30).then(() => 'still asleep'),
    ]);
    expect(outcome).toBe('still asleep');
    controller.abort();
    await expect(long).rejects.toThrow();
  });

  it('a blocked event loop makes expiry late, never early, and loses nothing', async () => {
    const current = await open();
    const sandbox = await current.sandboxer.create({ ...PROFILE, ttl: '5s' });
    const endMs = performance.now() + 400;
    while (performance.now() < endMs);
    const view = await untilOver(current, sandbox.id);
    expect(Date.parse(view.updated_at)).toBeGreaterThanOrEqual(Date.parse(sandbox.status.expires_at!));
  });
});

describe('idleness', () => {
  const IDLE = { profile: 'profile.idle' };
  const openIdle = async () => {
    bench = await openFaultBench({ SANDBOXER_PROFILES: join(import.meta.dirname, 'profiles') });
    bench.composed.engine.startLoops();
    return bench;
  };

  it('ends what nobody uses', async () => {
    const current = await openIdle();
    const sandbox = await current.sandboxer.create(IDLE);
    await untilOver(current, sandbox.id);
    const events = await current.composed.engine.context.store.listEvents(sandbox.id, 0, 100);
    expect(events.find(({ type }) => type === 'time_ran_out')?.detail).toEqual({ cause: 'idle' });
  });

  it('is not believed of a backend that does not answer, nor while a command runs', async () => {
    const current = await openIdle();
    const sandbox = await current.sandboxer.create(IDLE);
    const running = await sandbox.start(['sleep', '60']);
    current.setFaults([{ verb: 'observe', kind: 'error_before', times: 3 }]);
    await current.clock.sleep(40_000);
    expect((await sandbox.refresh()).status.state).toBe('active');
    running.close();
    await untilOver(current, sandbox.id);
  });
});

describe('a sandbox that its backend lost', () => {
  it('is failed with the cause and cleaned up', async () => {
    const current = await open();
    current.setFaults([{ verb: 'provision', kind: 'dies_later', delayMs: 5_000, times: 1 }]);
    const sandbox = await current.sandboxer.create(PROFILE);
    for (;;) {
      const { status } = await sandbox.refresh();
      if (status.failure?.cleaned_up) {
        expect(status.state).toBe('failed');
        expect(status.failure.code).toBe('sandbox_unreachable');
        break;
      }
      await current.clock.sleep(1_000);
    }
    expect(current.things()).toEqual([]);
  });
});

describe('a passing state (P10)', () => {
  it('that lasts longer than the table allows raises an alarm', async () => {
    const current = await open();
    const sandbox = await current.sandboxer.create(PROFILE);
    current.setFaults([{ verb: 'destroy', kind: 'slow', delayMs: 3_000_000 }]);
    const destroying = sandbox.destroy({ signal: AbortSignal.timeout(500) }).catch(() => undefined);
    const { store } = current.composed.engine.context;
    const record = (await store.getSandbox(sandbox.id))!;
    await destroying;
    const stuck = (await store.getSandbox(sandbox.id)) ?? record;
    expect(stuck.run?.kind).toBe('destroy');
    await store.transaction((transaction) =>
      transaction.updateSandbox({
        ...stuck,
        run: { ...stuck.run!, startedAtMs: stuck.run!.startedAtMs - 3_600_000 },
      }),
    );
    await current.composed.engine.reconciler.alarmOverdue();
    expect((await sandbox.refresh()).status.needs_attention).toMatch(/longer than 15m/);
  });
});
