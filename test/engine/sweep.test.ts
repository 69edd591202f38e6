/** P8 (T10): strays go, live ones stay, and a list that cannot be trusted kills nothing. */
import { afterEach, describe, expect, it } from 'vitest';
import { backendName } from '../../src/domain/ids.ts';
import { type FaultBench, openFaultBench } from '../faults/bench.ts';
import { newName, simulatedSpec } from '../standins/simulated-harness.ts';

const PROFILE = { profile: 'profile.simulated' };
let bench: FaultBench;
afterEach(async () => {
  await bench[Symbol.asyncDispose]();
});

async function plant(name: string, epoch = 1): Promise<void> {
  const extension = await bench.composed.engine.context.extensions.load('ext.simulated');
  await extension.provision({
    name,
    epoch,
    spec: simulatedSpec(),
    tags: {},
    ownDeadlineMs: 3_600_000,
    ownDeadlineCapMs: 3_600_000,
    signal: new AbortController().signal,
  });
}

async function sweep(apply = true) {
  const { context, sweeper } = bench.composed.engine;
  return sweeper.sweep(await context.extensions.load('ext.simulated'), apply, new AbortController().signal);
}

async function grownOld(): Promise<void> {
  await bench.clock.sleep(2_500);
}

describe('the orphan sweep', () => {
  it('removes a stray that is old and was seen twice, and spares what is live', async () => {
    bench = await openFaultBench();
    const live = await bench.sandboxer.create(PROFILE);
    await plant(newName());
    await grownOld();
    await sweep();
    expect(bench.things()).toHaveLength(2);
    await bench.clock.sleep(1_000);
    const report = await sweep();
    expect(report.items.filter(({ killed }) => killed)).toHaveLength(1);
    expect(bench.things()).toEqual([backendName(live.id, 1)]);
  });

  it('a dry run prints the plan that apply runs, and removes nothing', async () => {
    bench = await openFaultBench();
    await plant(newName());
    await grownOld();
    await sweep(false);
    await bench.clock.sleep(1_000);
    const plan = await sweep(false);
    expect(plan.items.map(({ action }) => action)).toEqual(['kill']);
    expect(bench.things()).toHaveLength(1);
    const done = await sweep();
    expect(done.items.map(({ name, action, reason }) => ({ name, action, reason }))).toEqual(
      plan.items.map(({ name, action, reason }) => ({ name, action, reason })),
    );
  });

  for (const kind of [
    'list_page_missing',
    'list_loop',
    'error_before',
    'timeout_before',
    'truncated_body',
  ] as const) {
    it(`kills nothing when the list suffers ${kind}`, async () => {
      bench = await openFaultBench();
      for (let index = 0; index < 3; index += 1) await plant(newName());
      await grownOld();
      await sweep();
      await bench.clock.sleep(1_000);
      bench.setFaults([{ verb: 'list', kind }]);
      const report = await sweep();
      expect(report.alarm).toContain('not complete');
      expect(bench.things()).toHaveLength(3);
    });
  }

  it('stops with an alarm when there are too many', async () => {
    bench = await openFaultBench();
    for (let index = 0; index < 15; index += 1) await plant(newName());
    await grownOld();
    await sweep();
    await bench.clock.sleep(1_000);
    const report = await sweep();
    expect(report.alarm).toContain('more than a sweep may remove');
    expect(bench.things()).toHaveLength(15);
  });

  it('removes the old incarnation of a recreated sandbox that came back, not the new one', async () => {
    bench = await openFaultBench();
    const sandbox = await bench.sandboxer.create(PROFILE);
    await sandbox.recreate();
    await plant(backendName(sandbox.id, 1));
    await sweep();
    await bench.clock.sleep(1_000);
    await sweep();
    expect(bench.things()).toEqual([backendName(sandbox.id, 2)]);
  });

  it('leaves other tenants alone', async () => {
    bench = await openFaultBench();
    bench.setFaults([{ verb: 'list', kind: 'list_other_tenants' }]);
    await grownOld();
    const report = await sweep();
    expect(report.items.filter(({ action }) => action === 'kill')).toEqual([]);
  });
});
