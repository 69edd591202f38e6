/** Snapshots that build on others are kept, restored and removed as if each were whole. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openSqliteStore } from '../../src/adapters/store-sqlite/store.ts';
import { type Sandbox, Sandboxer } from '../../src/faces/library/index.ts';
import type { LabHost } from '../lab/host.ts';
import { type ComposeHome, openComposeHome } from '../standins/compose-home.ts';
import { destroyEverything } from '../standins/destroy-all.ts';
import { HeldTar } from '../standins/held-tar.ts';

describe.runIf(process.getuid?.() === 0)('a snapshot that builds on another one', () => {
  let place: ComposeHome;
  let host: LabHost;
  let tar: HeldTar;
  let sandboxer: Sandboxer;

  beforeAll(async () => {
    place = await openComposeHome(2);
    host = place.lab.hosts[0]!;
    await host.useDisk(256);
    tar = new HeldTar(host);
    await tar.install();
    mkdirSync(join(place.home, 'snapshots'), { mode: 0o700 });
    sandboxer = await Sandboxer.connect({ environment: place.variables });
  });
  afterAll(async () => {
    await sandboxer.close();
    await place.lab.stop();
    rmSync(place.home, { recursive: true, force: true });
  });
  afterEach(async () => {
    await tar.letGo();
    await destroyEverything(sandboxer);
    expect(host.baseEntries()).toEqual([]);
    for (const { snapshot_id } of (await sandboxer.listSnapshots()).items)
      await sandboxer.deleteSnapshot(snapshot_id);
    expect(files()).toEqual([]);
  });

  const files = () => readdirSync(join(place.home, 'snapshots')).sort();
  const fileOf = (id: string) => `${id}.tar.zst`;
  const pathOf = (id: string) => join(place.home, 'snapshots', fileOf(id));
  const inside = async (sandbox: Sandbox, script: string, on = host) => {
    const words = ['sh', '-ec', `cd /tmp/sandboxer/${sandbox.id}; ${script}`];
    const { stdout, stderr } = await on.run(words);
    expect(stderr).toBe('');
    return stdout;
  };
  const CONTENT = 'cat one two; stat -c %s large';
  /** A sandbox whose `one` is in the base alone, and whose `two` changed since. */
  const begun = async (keep = '1h') => {
    const source = await sandboxer.create({ profile: place.profile, host: 'host1' });
    await inside(source, 'echo 1 >one; echo 2 >two; head -c 100000 /dev/urandom >large; sleep 2.1');
    const base = await source.snapshot({ keep });
    await inside(source, 'echo changed >two; touch gone; rm gone');
    const changes = await source.snapshot();
    expect([base.based_on, changes.based_on]).toEqual([null, base.snapshot_id]);
    expect(changes.archive_bytes).toBeLessThan(base.archive_bytes / 4);
    return { source, base: base.snapshot_id, changes: changes.snapshot_id };
  };

  it('goes to another host and to this machine', async () => {
    const { changes } = await begun();
    const there = await sandboxer.restore(changes, { host: 'host2' });
    expect(await inside(there, CONTENT, place.lab.hosts[1])).toBe('1\nchanged\n100000\n');
    const here = await sandboxer.restore(changes, { profile: 'profile.local' });
    expect((await here.run(['sh', '-c', CONTENT])).stdout).toBe('1\nchanged\n100000\n');
    const again = await sandboxer.restore(changes, { profile: 'profile.local' });
    expect((await again.run(['sh', '-c', CONTENT])).stdout).toBe('1\nchanged\n100000\n');
  }, 60_000);

  it('outlives its base, which looks missing then and goes with it', async () => {
    const { source, base, changes } = await begun();
    await sandboxer.deleteSnapshot(base);
    expect((await sandboxer.listSnapshots()).items.map(({ snapshot_id: id }) => id)).toEqual([changes]);
    for (const attempt of [
      () => sandboxer.getSnapshot(base),
      () => sandboxer.restore(base),
      () => sandboxer.deleteSnapshot(base),
    ])
      await expect(attempt()).rejects.toMatchObject({ code: 'not_found' });
    expect(files()).toEqual([fileOf(base), fileOf(changes)].sort());
    // Nothing new builds on what is deleted.
    const next = await source.snapshot();
    expect(next.based_on).toBe(null);
    await sandboxer.close();
    sandboxer = await Sandboxer.connect({ environment: place.variables });
    const restored = await sandboxer.restore(changes, { host: 'host1' });
    expect(await inside(restored, CONTENT)).toBe('1\nchanged\n100000\n');
    await sandboxer.deleteSnapshot(changes);
    expect(files()).toEqual([fileOf(next.snapshot_id)]);
  }, 60_000);

  it('outlives the time of its base', async () => {
    const { source, base, changes } = await begun('1s');
    await sleep(1_000);
    const next = await source.snapshot(); // removes what has expired
    expect(next.based_on).toBe(null);
    await expect(sandboxer.getSnapshot(base)).rejects.toMatchObject({ code: 'not_found' });
    expect(files()).toHaveLength(3);
    expect(await inside(await sandboxer.restore(changes, { host: 'host1' }), CONTENT)).toBe(
      '1\nchanged\n100000\n',
    );
  }, 60_000);

  it('leaves no file after a crash between its row and its files', async () => {
    const { base, changes } = await begun();
    await sandboxer.deleteSnapshot(base);
    await sandboxer.close();
    const store = openSqliteStore(place.home);
    const free = await store.transaction((transaction) => transaction.deleteSnapshot(changes));
    await store.close();
    expect(free.toSorted()).toEqual([base, changes].sort());
    sandboxer = await Sandboxer.connect({ environment: place.variables });
    expect(files()).toEqual([]);
  }, 60_000);

  it('is refused where one of its two files is damaged or gone, and nothing is left of it', async () => {
    const { source, base, changes } = await begun();
    for (const id of [base, changes]) {
      const bytes = readFileSync(pathOf(id));
      for (const at of [0.5, 0.99, 1]) {
        const turned = Buffer.from(bytes);
        turned[Math.min(bytes.length - 1, Math.floor(bytes.length * at))]! ^= 4;
        writeFileSync(pathOf(id), turned);
        await expect(sandboxer.restore(changes), `${id} ${at}`).rejects.toMatchObject({
          code: 'snapshot_corrupt',
        });
      }
      rmSync(pathOf(id));
      await expect(sandboxer.restore(changes)).rejects.toMatchObject({ code: 'snapshot_corrupt' });
      writeFileSync(pathOf(id), bytes);
    }
    expect(host.baseEntries().filter((name) => name !== '.sandboxer')).toEqual([source.id]);
  }, 120_000);

  it('is a whole one where its base was deleted meanwhile, or the last was large', async () => {
    const { source, base, changes } = await begun();
    await sandboxer.deleteSnapshot(changes);
    await tar.hold();
    const taken = source.snapshot();
    await tar.untilHeld();
    await sandboxer.deleteSnapshot(base);
    await tar.letGo();
    const whole = await taken;
    expect(whole.based_on).toBe(null);
    expect(files()).toEqual([fileOf(whole.snapshot_id)]);
    await inside(source, 'sleep 2.1');
    const settled = await source.snapshot();
    await inside(source, 'head -c 50000 /dev/urandom >large');
    expect((await source.snapshot()).based_on).toBe(settled.based_on ?? settled.snapshot_id);
    expect((await source.snapshot()).based_on).toBe(null);
  }, 60_000);
});
