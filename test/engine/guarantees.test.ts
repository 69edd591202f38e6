/** P4, P7 (T8, T9): what many callers at once may and may not get. */
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { SandboxerError } from '../../src/domain/errors.ts';
import { type FaultBench, openFaultBench } from '../faults/bench.ts';

const PROFILE = { profile: 'profile.simulated' };
let bench: FaultBench | null = null;
/** Real sandboxes need real time, of which the hasty clock leaves a twentieth. */
const PATIENCE_MS = 60_000;
const open = async (variables: Record<string, string> = {}, patienceMs = 2_000) => {
  bench = await openFaultBench(variables, patienceMs);
  return bench;
};
afterEach(async () => {
  await bench?.[Symbol.asyncDispose]();
  bench = null;
});

function codes(results: readonly PromiseSettledResult<unknown>[]): string[] {
  return results.map((result) =>
    result.status === 'fulfilled'
      ? 'ok'
      : result.reason instanceof SandboxerError
        ? result.reason.code
        : 'other',
  );
}

const SIZE = Number(process.env.SANDBOXER_TEST_SCALE ?? 1);

describe('idempotency (P7)', () => {
  it('same key, same body: one effect and the same answer for fifty at once', async () => {
    const { sandboxer, things } = await open();
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => sandboxer.create(PROFILE, { idempotencyKey: 'one' })),
    );
    expect(new Set(answers.map(({ status }) => JSON.stringify(status))).size).toBe(1);
    expect(things()).toHaveLength(1);
  });

  it('same key, other body: a conflict that names the first', async () => {
    const { sandboxer } = await open();
    const first = await sandboxer.create(PROFILE, { idempotencyKey: 'k' });
    const other = sandboxer.create({ ...PROFILE, ttl: '5m' }, { idempotencyKey: 'k' });
    await expect(other).rejects.toMatchObject({ code: 'idempotency_conflict', sandboxId: first.id });
  });

  it('the order of fields does not make another body', async () => {
    const { sandboxer } = await open();
    const first = await sandboxer.create({ labels: { a: '1', b: '2' }, ...PROFILE }, { idempotencyKey: 'k' });
    const again = await sandboxer.create({ ...PROFILE, labels: { b: '2', a: '1' } }, { idempotencyKey: 'k' });
    expect(again.id).toBe(first.id);
  });

  it('the answer stays the first one, though the sandbox moves on', async () => {
    const { sandboxer } = await open();
    const first = await sandboxer.create(PROFILE, { idempotencyKey: 'k' });
    await first.destroy();
    const again = await sandboxer.create(PROFILE, { idempotencyKey: 'k' });
    expect(again.status).toEqual(first.status);
  });

  it('an extension with one key is granted once', async () => {
    const { sandboxer } = await open();
    const sandbox = await sandboxer.create(PROFILE);
    const extended = await Promise.all(
      Array.from({ length: 20 }, () => sandbox.extend('1h', { idempotencyKey: 'e' })),
    );
    expect(new Set(extended.map(({ status }) => status.expires_at)).size).toBe(1);
    const grantedMs = Date.parse(extended[0]!.status.expires_at!) - Date.parse(sandbox.status.expires_at!);
    expect(grantedMs).toBe(3_600_000);
  });

  for (const key of ['', 'x'.repeat(201)]) {
    it(`refuses a key of ${key.length} bytes`, async () => {
      const { sandboxer } = await open();
      await expect(sandboxer.create(PROFILE, { idempotencyKey: key })).rejects.toMatchObject({
        code: 'invalid_request',
      });
    });
  }
});

describe('slots (P4)', () => {
  it(`of ${200 * SIZE} creates at once for 20 slots exactly 20 succeed`, async () => {
    const { sandboxer, things, composed } = await open({ SANDBOXER_SLOTS: '20' });
    const results = codes(
      await Promise.allSettled(Array.from({ length: 200 * SIZE }, () => sandboxer.create(PROFILE))),
    );
    expect(results.filter((code) => code === 'ok')).toHaveLength(20);
    expect(results.filter((code) => code === 'quota_exceeded')).toHaveLength(200 * SIZE - 20);
    expect(things()).toHaveLength(20);
    expect(await composed.engine.context.store.slotsUsed('ext.simulated')).toBe(20);
  });

  it('a destroyed, a failed and a recreated sandbox leave the count right', async () => {
    const { sandboxer, setFaults, composed } = await open({ SANDBOXER_SLOTS: '2' });
    const used = () => composed.engine.context.store.slotsUsed('ext.simulated');
    const one = await sandboxer.create(PROFILE);
    await one.recreate();
    expect(await used()).toBe(1);
    setFaults([{ verb: 'provision', kind: 'quota', times: 1 }]);
    await expect(sandboxer.create(PROFILE)).rejects.toMatchObject({ code: 'backend_unavailable' });
    expect(await used()).toBe(1);
    await one.destroy();
    expect(await used()).toBe(0);
  });
});

describe('a repeated key', () => {
  it('of an extension that failed fails again, and of a parallel one with another body is a conflict', async () => {
    const { sandboxer, setFaults } = await open();
    const sandbox = await sandboxer.create(PROFILE);
    setFaults([{ verb: 'setOwnDeadline', kind: 'unauthenticated' }]);
    const extend = (duration: string, key: string) => sandbox.extend(duration, { idempotencyKey: key });
    await expect(extend('1h', 'a')).rejects.toMatchObject({ code: 'backend_refused' });
    setFaults([]);
    await expect(extend('1h', 'a')).rejects.toMatchObject({ code: 'backend_refused' });
    const results = codes(await Promise.allSettled([extend('1h', 'b'), extend('2h', 'b')]));
    expect(results.sort()).toEqual(['idempotency_conflict', 'ok']);
  });
});

describe('a backend that is down', () => {
  it('holds up nobody else, however much is to be removed there', async () => {
    const { sandboxer, setFaults } = await open({}, PATIENCE_MS);
    const many = await Promise.all(Array.from({ length: 70 }, () => sandboxer.create(PROFILE)));
    setFaults([{ verb: 'destroy', kind: 'outage' }]);
    const destroys = many.map((sandbox) =>
      sandbox.destroy({ signal: AbortSignal.timeout(8_000) }).catch(() => undefined),
    );
    const local = await sandboxer.create({ profile: 'profile.local' });
    expect((await local.run(['echo', 'served'])).stdout).toBe('served\n');
    await local.destroy();
    setFaults([]);
    await Promise.all(destroys);
  }, 60_000);

  it('and cannot be removed is told to whoever asks, also while it waits for its next attempt', async () => {
    const { sandboxer, composed, setFaults } = await open();
    const sandbox = await sandboxer.create(PROFILE);
    setFaults([{ verb: 'destroy', kind: 'unauthenticated' }]);
    const alarmed = Promise.withResolvers<void>();
    composed.engine.context.bus.onCommitted(({ record }) => {
      if (record.attention !== null) alarmed.resolve();
    });
    const first = sandbox.destroy({ idempotencyKey: 'd' }).catch((error: unknown) => error);
    await alarmed.promise;
    const second = sandbox.destroy({ idempotencyKey: 'd' }).catch((error: unknown) => error);
    for (const answer of [await first, await second])
      expect(answer).toMatchObject({ code: 'backend_unavailable' });
    setFaults([]);
    await composed.engine.runner.idle(sandbox.id, AbortSignal.timeout(PATIENCE_MS));
  }, 60_000);

  it('and cannot be left (failover) is asked again until it can, with an alarm, and then left', async () => {
    const current = await open({ SANDBOXER_PROFILES: join(import.meta.dirname, 'profiles') }, PATIENCE_MS);
    current.setFaults([
      { verb: 'provision', kind: 'capacity' },
      { verb: 'destroy', kind: 'unauthenticated' },
    ]);
    const attempt = current.sandboxer.create({ profile: 'profile.two-backends' });
    await expect(attempt).rejects.toMatchObject({ code: 'backend_unavailable' });
    const { items } = await current.sandboxer.list();
    expect(items[0]).toMatchObject({ extension_id: 'ext.simulated', needs_attention: expect.any(String) });
    current.setFaults([]);
    const settled = await current.composed.engine.runner.idle(
      items[0]!.sandbox_id,
      AbortSignal.timeout(20_000),
    );
    expect(settled).toMatchObject({ state: 'ready', extensionId: 'ext.local' });
    await (await current.sandboxer.get(items[0]!.sandbox_id)).destroy();
  }, 60_000);
});

describe('a full house', () => {
  it('still lets a failed sandbox be destroyed', async () => {
    const { sandboxer, setFaults, composed } = await open({ SANDBOXER_SLOTS: '1' });
    setFaults([{ verb: 'provision', kind: 'capacity', times: 1 }]);
    await expect(sandboxer.create(PROFILE)).rejects.toThrow();
    await sandboxer.create(PROFILE);
    const { items } = await sandboxer.list({ state: 'failed' });
    expect((await (await sandboxer.get(items[0]!.sandbox_id)).destroy()).state).toBe('destroyed');
    expect(await composed.engine.context.store.slotsUsed('ext.simulated')).toBe(1);
  });
});

describe('one thing at a time', () => {
  it('destroy during create wins, and leaves nothing', async () => {
    const { sandboxer, setFaults, things } = await open();
    setFaults([{ verb: 'provision', kind: 'slow', delayMs: 1_500, times: 1 }]);
    const creating = sandboxer.create({ ...PROFILE, wait: false });
    const sandbox = await creating;
    expect((await sandbox.destroy()).state).toBe('destroyed');
    expect(things()).toEqual([]);
  });

  it('of many destroys at once each is told it is destroyed', async () => {
    const { sandboxer } = await open();
    const sandbox = await sandboxer.create(PROFILE);
    const views = await Promise.all(Array.from({ length: 20 }, () => sandbox.destroy()));
    expect(new Set(views.map(({ state }) => state))).toEqual(new Set(['destroyed']));
    const types: string[] = [];
    for await (const event of sandbox.events()) types.push(event.type);
    expect(types.filter((type) => type === 'absence_proven')).toHaveLength(1);
  });

  it('recreate gives a new incarnation under the same id', async () => {
    const { sandboxer, things } = await open();
    const sandbox = await sandboxer.create(PROFILE);
    const again = await sandbox.recreate();
    expect(again.id).toBe(sandbox.id);
    expect(again.status).toMatchObject({ epoch: 2, state: 'ready' });
    expect(things()).toEqual([`sbx-${sandbox.id}-e2`]);
  });

  it('what is destroyed cannot be recreated, extended or used', async () => {
    const { sandboxer } = await open();
    const sandbox = await sandboxer.create(PROFILE);
    await sandbox.destroy();
    const attempts = [sandbox.recreate(), sandbox.extend('1h'), sandbox.run(['true'])];
    expect(codes(await Promise.allSettled(attempts))).toEqual([
      'state_conflict',
      'state_conflict',
      'state_conflict',
    ]);
  });
});
