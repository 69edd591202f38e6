/** Time goes on whatever hangs: a backend that never answers an extension, and a restart without traffic. */
import { afterEach, describe, expect, it } from 'vitest';
import { compose } from '../../src/main.ts';
import { type FaultBench, openFaultBench } from '../faults/bench.ts';
import { newName, simulatedSpec } from '../standins/simulated-harness.ts';

let bench: FaultBench | null = null;
afterEach(async () => {
  await bench?.[Symbol.asyncDispose]();
  bench = null;
});

describe('an extension of time that the backend never answers', () => {
  it('does not keep the sandbox past its deadline (P5)', async () => {
    bench = await openFaultBench({}, 600_000);
    bench.composed.engine.startLoops();
    const sandbox = await bench.sandboxer.create({ profile: 'profile.simulated', ttl: '30s' });
    bench.setFaults([{ verb: 'setOwnDeadline', kind: 'timeout_before' }]);
    const extending = sandbox.extend('1h').then(
      () => 'granted',
      () => 'refused',
    );
    for (;;) {
      const { status } = await sandbox.refresh();
      if (status.state === 'destroyed') break;
      await bench.clock.sleep(500);
    }
    expect(await extending).toBe('refused');
  });
});

describe('the sweep of a server', () => {
  it('looks at every installed backend, used or not, and only reports at first', async () => {
    bench = await openFaultBench();
    const { context } = bench.composed.engine;
    const extension = await context.extensions.load('ext.simulated');
    await extension.provision({
      name: newName(),
      epoch: 1,
      spec: simulatedSpec(),
      tags: {},
      ownDeadlineMs: 3_600_000,
      ownDeadlineCapMs: 3_600_000,
      signal: new AbortController().signal,
    });
    const home = bench.composed.home.directory;
    await bench.composed.close();
    const later = await compose({
      environment: { PATH: process.env.PATH, SANDBOXER_HOME: home },
      clock: bench.clock,
      settings: { sweepGraceMs: 100, sweepSightingGapMs: 100, sweepIntervalMs: 1_000 },
    });
    expect(bench.things()).toHaveLength(1);
    later.engine.startLoops();
    for (let round = 0; round < 200 && bench.things().length > 0; round += 1) await bench.clock.sleep(500);
    expect(bench.things()).toEqual([]);
    await later.close();
  });
});
