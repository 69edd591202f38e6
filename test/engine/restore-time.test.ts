/** A restore has the time that its size needs: its run, its last cap, and the backend's own deadline say the same. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LIMITS } from '../../src/domain/limits.ts';
import { restoreExtraMs } from '../../src/domain/snapshot/restore-time.ts';
import { LocalTransport } from '../../src/faces/library/local-transport.ts';
import { Sandboxer } from '../../src/faces/library/sandboxer.ts';
import { type Composed, compose } from '../../src/main.ts';
import type { ProvisionRequest } from '../../src/ports/extension.ts';
import type { RunRecord } from '../../src/ports/store.ts';
import { createHastyClock } from '../standins/hasty-clock.ts';
import { HOSTED_ID, HostedWorld, hostedExtension } from '../standins/hosted-extension.ts';
import { sampleSnapshot } from '../standins/sample-record.ts';
import { temporaryDirectory } from '../standins/simulated-harness.ts';

const GIB = 1024 ** 3;
const sums = (...parts: readonly (readonly [entries: number, bytes: number])[]) => ({
  parts: parts.map(([entries, bytes]) => ({ entries, bytes, left_out: [] })),
});

describe('the time of a restore', () => {
  it('is that of a create while the snapshot is small', () => {
    expect(restoreExtraMs([sums()])).toBe(0);
    expect(restoreExtraMs([sums([20_000, 100_000_000])])).toBe(0);
    expect(restoreExtraMs([sums([0, LIMITS.restoreBytesInProvisionTime])])).toBe(0);
  });

  it('grows with bytes and entries, of all parts, and is a whole number (property)', () => {
    const size = fc.tuple(fc.nat(LIMITS.snapshotEntries), fc.nat(64 * GIB));
    fc.assert(
      fc.property(size, size, (first, second) => {
        const both = restoreExtraMs([sums(first, second)]);
        expect(Number.isSafeInteger(both)).toBe(true);
        expect(both).toBeGreaterThanOrEqual(restoreExtraMs([sums(first)]));
        expect(restoreExtraMs([sums([first[0], first[1] + 1_000_000_000])])).toBeGreaterThan(
          restoreExtraMs([sums(first)]),
        );
      }),
    );
    expect(restoreExtraMs([sums([0, 4 * GIB])])).toBe((4_096 - 256) * 1_000);
    expect(restoreExtraMs([sums([1_000_000, 0])])).toBeGreaterThan(3_000_000);
  });
});

describe('a large restore', () => {
  let snapshotId: string;
  const extraMs = (4_096 - 256) * 1_000;
  let composed: Composed;
  let sandboxer: Sandboxer;
  let requests: ProvisionRequest[];
  let granted: number[];

  beforeEach(async () => {
    requests = [];
    granted = [];
    const restoring = hostedExtension(new HostedWorld(), (made) => ({
      ...made,
      capabilities: async () => ({ ...(await made.capabilities()), snapshots: true, ownDeadline: true }),
      snapshots: { kinds: ['workspace'], capture: () => Promise.reject(new Error('not here')) },
      provision(request) {
        requests.push(request);
        return made.provision(request);
      },
      async setOwnDeadline(_reference, remainingMs) {
        granted.push(remainingMs);
        return remainingMs;
      },
    }));
    const home = temporaryDirectory();
    mkdirSync(join(home, 'profiles'), { recursive: true });
    const profile = {
      id: 'profile.hosted',
      version: '1.0.0',
      extension: HOSTED_ID,
      isolation: { level: 'container' },
    };
    const text = JSON.stringify({ ...profile, ttl: { default: '1h', max: '2h' } });
    writeFileSync(join(home, 'profiles', 'profile.hosted.yaml'), text);
    composed = await compose({
      environment: { PATH: process.env.PATH, SANDBOXER_HOME: home },
      clock: createHastyClock(20),
      installed: [restoring],
    });
    sandboxer = new Sandboxer(new LocalTransport(composed));
    await new LocalTransport(composed).call('hosts_add', { name: 'host1', ssh: 'deploy@host1' });
    const { store, clock } = composed.engine.context;
    const times = { createdAtMs: clock.nowMs(), expiresAtMs: clock.nowMs() + 30 * 86_400_000 };
    const snapshot = sampleSnapshot(1, { ...times, sums: sums([0, 4 * GIB]) });
    snapshotId = snapshot.id;
    await store.transaction((transaction) => transaction.insertSnapshot(snapshot));
  });
  afterEach(() => sandboxer.close());

  it('has the same time everywhere, also when it is made again, and the usual deadline once it is ready', async () => {
    const runs = new Map<string, RunRecord>();
    composed.engine.context.bus.onCommitted(({ record: { run } }) => {
      if (run !== null && !runs.has(run.id)) runs.set(run.id, run);
    });
    const made = await sandboxer.restore(snapshotId, { profile: 'profile.hosted', ttl: '30m' });
    await made.recreate();
    const record = await composed.engine.context.store.getSandbox(made.id);
    const marginMs = composed.engine.context.settings.ownDeadlineMarginMs;
    const lives = [...runs.values()].map((run) => [run.kind, run.deadlineAtMs - run.startedAtMs]);
    const timeMs = LIMITS.provisionTimeoutMs + extraMs;
    expect(lives).toEqual([
      ['create', timeMs],
      ['recreate', timeMs],
    ]);
    for (const request of requests) {
      expect(request.ownDeadlineMs).toBe(record!.ttlMs + extraMs + marginMs);
      expect(request.ownDeadlineCapMs).toBe(record!.ttlMaxMs + timeMs + marginMs);
    }
    expect(requests).toHaveLength(2);
    expect(granted).toEqual([record!.ttlMs + marginMs, record!.ttlMs + marginMs]);
    expect(record!.hardCapAtMs).toBeGreaterThan(record!.createdAtMs + record!.ttlMaxMs + timeMs - 1);
  });
});
