/** P11: what is answered is on the disk; an effect may come before that only where a power cut takes it along. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Committed } from '../../src/engine/bus.ts';
import { LocalTransport } from '../../src/faces/library/local-transport.ts';
import { Sandboxer } from '../../src/faces/library/sandboxer.ts';
import { compose } from '../../src/main.ts';
import { holdDisk } from '../standins/held-disk.ts';
import { temporaryDirectory } from '../standins/simulated-harness.ts';

/** A busy machine may take its time; nothing is waited for longer than it takes. */
const PATIENCE = { timeout: 15_000, interval: 5 };
const PROFILE = { profile: 'profile.simulated' };
const opened: Sandboxer[] = [];
afterEach(async () => {
  for (const sandboxer of opened.splice(0)) await sandboxer.close();
});

/** The simulated backend, installed as one that ends with the machine or not. */
async function open(endsWithMachine: boolean) {
  const fatal: unknown[] = [];
  const { createExtension } = await import('../../src/extensions/simulated/extension.ts');
  const summary = { id: 'ext.simulated', title: 'Simulated', description: 'Simulated.', endsWithMachine };
  const asked: string[] = [];
  const composed = await compose({
    environment: { PATH: process.env.PATH, SANDBOXER_HOME: temporaryDirectory() },
    onFatal: (cause) => fatal.push(cause),
    installed: [
      {
        summary,
        load: async () => ({
          async createExtension(context) {
            const extension = await createExtension(context);
            return new Proxy(extension, {
              get(target, name) {
                if (name === 'provision' || name === 'destroy') asked.push(name);
                const member: unknown = Reflect.get(target, name);
                return typeof member === 'function' ? member.bind(target) : member;
              },
            });
          },
        }),
      },
    ],
  });
  await composed.engine.context.extensions.load('ext.simulated');
  const committed: Committed[] = [];
  composed.engine.context.bus.onCommitted((one) => committed.push(one));
  const sandboxer = new Sandboxer(new LocalTransport(composed));
  opened.push(sandboxer);
  return { composed, sandboxer, asked, committed, fatal };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

function outcome(work: Promise<unknown>): { now: string } {
  const seen = { now: 'waiting' };
  work.then(
    () => {
      seen.now = 'answered';
    },
    (error: { code: string }) => {
      seen.now = error.code;
    },
  );
  return seen;
}

describe('a backend that ends with the machine', () => {
  it('is asked while the intent is on its way to the disk, and nobody is answered before it is there', async () => {
    const { sandboxer, asked, committed } = await open(true);
    using disk = holdDisk();
    const creating = sandboxer.create(PROFILE);
    const seen = outcome(creating);
    await expect.poll(() => asked, PATIENCE).toEqual(['provision']);
    await expect.poll(() => disk.asked, PATIENCE).toBeGreaterThan(0);
    await turn();
    expect([seen.now, committed.length]).toEqual(['waiting', 0]);
    disk.release();
    const sandbox = await creating;
    expect(committed.map(({ record }) => record.version)).toEqual([1, 2]);
    expect((await sandbox.destroy()).state).toBe('destroyed');
    const versions = committed.map(({ record }) => record.version);
    expect(versions).toEqual(versions.toSorted((left, right) => left - right));
  });

  it('shows nobody a record that a power cut could take back', async () => {
    const { composed, sandboxer, asked } = await open(true);
    using disk = holdDisk();
    const creating = sandboxer.create(PROFILE);
    await expect.poll(() => asked, PATIENCE).toEqual(['provision']);
    const listing = outcome(sandboxer.list({}));
    const reading = outcome(composed.engine.context.store.countLive());
    await turn();
    expect([listing.now, reading.now]).toEqual(['waiting', 'waiting']);
    disk.release();
    await creating;
    await expect.poll(() => [listing.now, reading.now], PATIENCE).toEqual(['answered', 'answered']);
  });

  it('is asked in vain where the flush then fails: nobody is told of success, then or later', async () => {
    const { composed, sandboxer, asked, committed, fatal } = await open(true);
    using disk = holdDisk();
    const creating = outcome(sandboxer.create(PROFILE));
    await expect.poll(() => asked, PATIENCE).toEqual(['provision']);
    disk.fail();
    await expect.poll(() => creating.now, PATIENCE).toBe('store_unavailable');
    disk.release();
    await expect(sandboxer.create(PROFILE)).rejects.toMatchObject({ code: 'store_unavailable' });
    await expect(composed.engine.context.store.countLive()).rejects.toMatchObject({
      code: 'store_unavailable',
    });
    expect([committed.length, fatal.length]).toEqual([0, 1]);
  });
});

describe('any other backend', () => {
  it('is asked for nothing before the intent is on the disk', async () => {
    const { sandboxer, asked } = await open(false);
    using disk = holdDisk();
    const creating = sandboxer.create(PROFILE);
    await expect.poll(() => disk.asked, PATIENCE).toBeGreaterThan(0);
    for (let index = 0; index < 20; index += 1) await turn();
    expect(asked).toEqual([]);
    disk.release();
    const sandbox = await creating;
    expect(asked).toEqual(['provision']);
    await sandbox.destroy();
  });
});
