/** Snapshots from the command line: what a person and a script see. */
import { afterAll, describe, expect, it } from 'vitest';
import { Bench } from '../faces/cli/harness.ts';

const bench = new Bench();
afterAll(() => bench.clear());

const SNAPSHOT_ID = /snap-[0-9a-z]{12}/;

describe('the commands of snapshots', () => {
  it('take one, show it, restore it and delete it, without a server', async () => {
    const id = await bench.create('--profile', 'profile.local');
    await bench.run(['exec', id, '--', 'sh', '-c', 'echo kept >file']);
    const taken = await bench.run(['snapshot', id, '--keep', '2h']);
    expect([taken.code, taken.stderr]).toEqual([0, '']);
    const snapshot = SNAPSHOT_ID.exec(taken.stdout)![0];
    expect(JSON.parse((await bench.run(['snapshots', 'get', snapshot])).stdout)).toMatchObject({
      sandbox_id: id,
    });
    const restored = await bench.run(['restore', snapshot, '--ttl', '10m', '--label', 'from=snapshot']);
    const view = JSON.parse(restored.stdout) as { sandbox_id: string; ttl: string; restored_from: string };
    expect(view).toMatchObject({ ttl: '10m', restored_from: snapshot, labels: { from: 'snapshot' } });
    expect((await bench.run(['exec', view.sandbox_id, '--', 'cat', 'file'])).stdout).toBe('kept\n');
    expect((await bench.run(['snapshots', 'delete', snapshot])).code).toBe(0);
    expect(JSON.parse((await bench.run(['snapshots', 'list'])).stdout)).toMatchObject({ items: [] });
  }, 60_000);

  it('show tables and cards to a person', async () => {
    const id = await bench.create('--profile', 'profile.local');
    const card = await bench.inTerminal(['snapshot', id]).ended;
    const snapshot = SNAPSHOT_ID.exec(card.stdout)![0];
    expect(card.stdout).toMatch(/holds.*workspace \(1 entry, 0 B\)/);
    expect(card.stdout).toContain(`sandboxer restore ${snapshot}`);
    expect((await bench.inTerminal(['snapshots', 'list']).ended).stdout).toMatch(
      new RegExp(`${snapshot}.*${id}`),
    );
    expect((await bench.inTerminal(['restore', snapshot]).ended).stdout).toContain(`from ${snapshot}`);
    expect((await bench.inTerminal(['snapshots', 'delete', snapshot]).ended).stdout).toContain('is deleted');
    expect((await bench.inTerminal(['snapshots', 'list']).ended).stdout).toContain('No snapshots.');
  }, 60_000);

  it('end with the code of the error, and one sentence', async () => {
    const missing = await bench.run(['restore', 'snap-000000000000']);
    expect([missing.code, missing.stdout]).toEqual([4, '']);
    expect(missing.stderr).toContain('There is no snapshot snap-000000000000.');
    const id = await bench.create('--profile', 'profile.simulated');
    const unsupported = await bench.run(['snapshot', id]);
    expect(unsupported.code).toBe(7);
    expect(unsupported.stderr).toContain('ext.simulated cannot take snapshots');
  }, 60_000);
});
