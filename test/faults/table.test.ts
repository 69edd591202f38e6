/** T4, P1, P2, P9: every fault at every step ends where the table says, and once it stops nothing is left. */
import { describe, expect, it } from 'vitest';
import { SandboxerError } from '../../src/domain/errors.ts';
import type { Sandbox } from '../../src/faces/library/sandboxer.ts';
import { type FaultBench, openFaultBench } from './bench.ts';
import { type End, expectedPairs, FAULT_TABLE, type FaultRow } from './table.ts';

const PROFILE = { profile: 'profile.simulated' };
/** A backend that never gets ready has ten minutes; for it time passes faster still. */
const HURRIED = 600;

async function endOf(work: () => Promise<string>, otherwise: End): Promise<string> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof SandboxerError && error.kind.fault === 'provider') return otherwise;
    throw error;
  }
}

async function strike(bench: FaultBench, row: FaultRow, times: number | null): Promise<string> {
  const rules = [{ verb: row.verb, kind: row.kind, times }];
  if (row.verb === 'provision' || row.verb === 'observe') {
    bench.setFaults(rules);
    return endOf(async () => (await bench.sandboxer.create(PROFILE)).status.state, 'failed');
  }
  const sandbox = await bench.sandboxer.create(PROFILE);
  bench.setFaults(rules);
  if (row.verb === 'destroy') return endOf(async () => (await sandbox.destroy()).state, 'attention');
  return endOf(async () => {
    await sandbox.extend('5m');
    return 'granted';
  }, 'refused');
}

async function theSandbox(bench: FaultBench): Promise<Sandbox> {
  const { items } = await bench.sandboxer.list();
  expect(items).toHaveLength(1);
  return bench.sandboxer.get(items[0]!.sandbox_id);
}

/** Sweeps until two in a row find nothing to do: strays need to be seen twice, apart in time. */
async function sweepAway(bench: FaultBench): Promise<void> {
  const { context, sweeper } = bench.composed.engine;
  const extension = await context.extensions.load('ext.simulated');
  const { signal } = new AbortController();
  for (let round = 0; round < 8; round += 1) {
    await sweeper.sweep(extension, true, signal);
    await context.clock.sleep(1_000);
    if (bench.things().length === 0 && round > 2) return;
  }
}

async function expectSettled(bench: FaultBench, ended: string): Promise<void> {
  bench.setFaults([]);
  const sandbox = await theSandbox(bench);
  if (ended === 'failed') {
    expect(sandbox.status.failure?.message).toMatch(/^\S.*\.$/);
    const record = await bench.composed.engine.runner.settled(sandbox.id, AbortSignal.timeout(5_000));
    expect(record.failure?.cleanedUp ?? record.attention).not.toBeNull();
  }
  expect((await sandbox.destroy()).state).toBe('destroyed');
  await sweepAway(bench);
  expect(bench.things()).toEqual([]);
  const truth = bench.truth();
  const open = truth.bill(bench.clock.nowMs()).filter(({ endAtMs }) => endAtMs === null);
  truth.close();
  expect(open).toEqual([]);
}

async function tryRow(row: FaultRow, times: number | null, expected: End): Promise<void> {
  const haste = row.kind === 'accepted_forever' ? HURRIED : undefined;
  await using bench = await openFaultBench({}, 2_000, haste);
  expect(await strike(bench, row, times)).toBe(expected);
  const truth = bench.truth();
  expect(truth.injected()[row.kind], 'the fault was injected').toBeGreaterThan(0);
  truth.close();
  await expectSettled(bench, expected);
}

describe('the table of faults', () => {
  it('holds every fault that the backend can do at every step', () => {
    const held = FAULT_TABLE.map(({ verb, kind }) => `${verb} ${kind}`);
    expect(held.sort()).toEqual(expectedPairs().sort());
  });
});

for (const row of FAULT_TABLE) {
  describe.concurrent(`${row.kind} during ${row.verb}`, () => {
    it(`once: ${row.once}`, () => tryRow(row, 1, row.once));
    it(`always: ${row.always}`, () => tryRow(row, null, row.always));
  });
}
