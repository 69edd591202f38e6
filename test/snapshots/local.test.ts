/** Snapshots of sandboxes on this machine, through the whole program. Also run as an ordinary user. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { zstdDecompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { removeExpiredSnapshots } from '../../src/engine/snapshot-removal.ts';
import { type Sandbox, Sandboxer } from '../../src/faces/library/index.ts';
import { type HttpBench, openHttpBench } from '../faces/http/bench.ts';
import { shell } from '../standins/shell.ts';

const PROFILE = 'profile.local';
const LARGE_MB = 192;
let bench: HttpBench;
let sandboxer: Sandboxer;
let source: Sandbox;

beforeAll(async () => {
  bench = await openHttpBench();
  sandboxer = await bench.client(bench.operatorToken);
  source = await sandboxer.create({ profile: PROFILE, project: 'red', inputs: { 'env.TOKEN': 'hush' } });
});
afterAll(async () => {
  await sandboxer.close();
  await bench[Symbol.asyncDispose]();
});

const files = () => {
  const directory = join(bench.home, 'snapshots');
  return existsSync(directory) ? readdirSync(directory).sort() : [];
};
const fileOf = (id: string) => join(bench.home, 'snapshots', `${id}.tar.zst`);
const boxes = () => readdirSync(join(bench.home, 'extensions', 'ext.local', 'boxes'));

describe('a snapshot of a sandbox on this machine', () => {
  it('brings the workspace back into another sandbox, as its user’s, while the source goes on', async () => {
    await shell(
      source,
      'mkdir -p deep/er && echo one >deep/er/file && ln -s deep/er/file link && ln link hard || :',
    );
    await shell(source, 'echo "#!/bin/sh\necho it runs" >program && chmod 750 program && touch "odd\nname"');
    const user = process.getuid?.() === 0 ? 'root' : 'user';
    await source.run(['sh', '-c', 'echo of root >root-file && chmod 600 root-file'], { user });
    const snapshot = await source.snapshot({ keep: '1h' });
    expect(snapshot).toMatchObject({
      project: 'red',
      parts: [{ kind: 'workspace' }],
      withheld_inputs: ['env.TOKEN'],
    });
    const held = zstdDecompressSync(readFileSync(fileOf(snapshot.snapshot_id)));
    expect([held.includes('it runs'), held.includes('hush')]).toEqual([true, false]);
    const restored = await sandboxer.restore(snapshot.snapshot_id, { inputs: { 'env.TOKEN': 'again' } });
    expect(restored.status).toMatchObject({
      state: 'ready',
      restored_from: snapshot.snapshot_id,
      left_out: [],
      consumer: { project: 'red' },
    });
    expect(await shell(restored, 'cat link deep/er/file root-file; ./program; echo $TOKEN')).toBe(
      'one\none\nof root\nit runs\nagain\n',
    );
    expect(await shell(restored, 'stat -c "%a %u" program root-file && echo more >>root-file && ls')).toMatch(
      /^750 (\d+)\n600 \1\n[\s\S]*odd\nname\n/,
    );
    expect(await shell(source, 'cat deep/er/file')).toBe('one\n');
    expect((await source.refresh()).status.state).toBe('active');
    await restored.destroy();
    expect((await sandboxer.deleteSnapshot(snapshot.snapshot_id)).snapshot_id).toBe(snapshot.snapshot_id);
    expect(files()).toEqual([]);
  });

  it('brings a large workspace back byte for byte', async () => {
    const large = await sandboxer.create({ profile: PROFILE });
    const sum = 'sha256sum noise text | cut -d" " -f1';
    await shell(large, 'head -c 20M /dev/urandom >noise && seq 1000000 >text');
    const { snapshot_id: id } = await large.snapshot();
    const restored = await sandboxer.restore(id);
    expect(await shell(restored, sum)).toBe(await shell(large, sum));
    for (const sandbox of [large, restored]) await sandbox.destroy();
    await sandboxer.deleteSnapshot(id);
  });

  it('is restored once however often one key asks for it', async () => {
    const { snapshot_id: id } = await source.snapshot();
    const restored = await Promise.all(
      Array.from({ length: 5 }, () => sandboxer.restore(id, {}, { idempotencyKey: 'once' })),
    );
    expect(new Set(restored.map((sandbox) => sandbox.id)).size).toBe(1);
    const other = sandboxer.restore(id, { ttl: '5m' }, { idempotencyKey: 'once' });
    await expect(other).rejects.toMatchObject({ code: 'idempotency_conflict' });
    await restored[0]!.destroy();
    await sandboxer.deleteSnapshot(id);
  });

  it('is what a recreated sandbox begins with again, and must still be there then', async () => {
    const { snapshot_id: id } = await source.snapshot();
    const restored = await sandboxer.restore(id);
    await shell(restored, 'rm -r deep');
    const again = await restored.recreate();
    expect(await shell(again, 'cat deep/er/file')).toBe('one\n');
    await sandboxer.deleteSnapshot(id);
    await expect(again.recreate()).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining(id),
    });
    expect((await again.refresh()).status.state).toBe('failed');
    expect(boxes()).toEqual([`sbx-${source.id}`]);
  });

  it('is refused as damaged before anything is called ready, and nothing is left', async () => {
    const { snapshot_id: id } = await source.snapshot();
    const bytes = readFileSync(fileOf(id));
    const turned = Buffer.from(bytes);
    turned[Math.floor(bytes.length / 2)]! ^= 1;
    for (const damaged of [turned, bytes.subarray(0, bytes.length - 20), Buffer.alloc(0)]) {
      writeFileSync(fileOf(id), damaged);
      const refused = await sandboxer.restore(id).catch((error: unknown) => error);
      expect(refused).toMatchObject({
        code: 'snapshot_corrupt',
        cleanedUp: expect.stringContaining('removed'),
      });
    }
    expect(boxes()).toEqual([`sbx-${source.id}`]);
    await sandboxer.deleteSnapshot(id);
  });

  it('is not made of a sandbox that ends meanwhile', async () => {
    const ending = await sandboxer.create({ profile: PROFILE });
    await shell(ending, `head -c ${LARGE_MB}M /dev/urandom >large`);
    const taken = ending.snapshot().catch((error: unknown) => error);
    while (files().length === 0) await sleep(5);
    await ending.destroy();
    expect(await taken).toMatchObject({
      code: 'state_conflict',
      message: expect.stringContaining('ended while'),
    });
    expect(files()).toEqual([]);
    expect((await sandboxer.listSnapshots()).items).toEqual([]);
    await expect(ending.snapshot()).rejects.toMatchObject({ code: 'state_conflict' });
  });

  it('is given up, and leaves nothing, when its caller goes away', async () => {
    await shell(source, `head -c ${LARGE_MB}M /dev/urandom >large`);
    const stop = new AbortController();
    const taken = sandboxer.transport.call('snapshot', { id: source.id }, { signal: stop.signal });
    const ended = taken.catch((error: unknown) => error);
    while (files().length === 0) await sleep(5);
    stop.abort();
    expect(await ended).toBeInstanceOf(Error);
    while (files().length > 0) await sleep(5);
    await shell(source, 'rm large');
    expect((await sandboxer.listSnapshots()).items).toEqual([]);
  });
});

describe('snapshots are kept', () => {
  it('for their own project alone: to others they look missing', async () => {
    const { snapshot_id: id } = await source.snapshot();
    const [red, blue] = await Promise.all(
      ['red', 'blue'].map(async (project) => bench.client(await bench.token(['read', 'write'], project))),
    );
    expect((await red!.getSnapshot(id)).snapshot_id).toBe(id);
    expect((await red!.listSnapshots()).items).toHaveLength(1);
    expect((await blue!.listSnapshots()).items).toEqual([]);
    expect((await blue!.listSnapshots({ project: 'red' })).items).toEqual([]);
    const never = await blue!.getSnapshot('snap-zzzzzzzzzzzz').catch((error: Error) => error.message);
    for (const attempt of [
      () => blue!.getSnapshot(id),
      () => blue!.restore(id),
      () => blue!.deleteSnapshot(id),
    ]) {
      const refused = await attempt().catch((error: unknown) => error);
      expect(refused).toMatchObject({ code: 'not_found' });
      expect((refused as Error).message.replace(id, 'snap-zzzzzzzzzzzz')).toBe(never);
    }
    await expect(
      (await blue!.create({ profile: PROFILE })).snapshot().then(({ project }) => project),
    ).resolves.toBe('blue');
    const restored = await red!.restore(id);
    expect(restored.status.consumer.project).toBe('red');
    await restored.destroy();
    await Promise.all([red!.close(), blue!.close()]);
    for (const { snapshot_id } of (await sandboxer.listSnapshots()).items)
      await sandboxer.deleteSnapshot(snapshot_id);
  });

  it('for as long as was asked, then they look missing and their files are removed', async () => {
    const short = await source.snapshot({ keep: '1s' });
    const long = await source.snapshot();
    expect(Date.parse(long.expires_at) - Date.parse(long.created_at)).toBe(7 * 86_400_000);
    await sleep(1_100);
    await expect(sandboxer.getSnapshot(short.snapshot_id)).rejects.toMatchObject({ code: 'not_found' });
    await expect(sandboxer.restore(short.snapshot_id)).rejects.toMatchObject({ code: 'not_found' });
    expect((await sandboxer.listSnapshots()).items.map(({ snapshot_id }) => snapshot_id)).toEqual([
      long.snapshot_id,
    ]);
    await removeExpiredSnapshots(bench.composed.engine.context);
    expect(files()).toEqual([`${long.snapshot_id}.tar.zst`]);
    await expect(source.snapshot({ keep: '366d' })).rejects.toMatchObject({ code: 'invalid_duration' });
    await sandboxer.deleteSnapshot(long.snapshot_id);
  });

  it('a page at a time, newest first', async () => {
    const taken: string[] = [];
    for (let count = 0; count < 5; count += 1) taken.push((await source.snapshot()).snapshot_id);
    const seen: string[] = [];
    for (let cursor: string | null | undefined; cursor !== null; ) {
      const page = await sandboxer.listSnapshots({ limit: 2, project: 'red', ...(cursor && { cursor }) });
      seen.push(...page.items.map(({ snapshot_id }) => snapshot_id));
      cursor = page.next_cursor;
    }
    expect(seen).toEqual(taken.toReversed());
    for (const id of taken) await sandboxer.deleteSnapshot(id);
  });

  it('without what a crash left of others', async () => {
    const home = `${bench.home}-crashed`;
    mkdirSync(join(home, 'snapshots'), { recursive: true });
    for (const name of ['snap-000000000000.partial', 'snap-000000000001.tar.zst'])
      writeFileSync(join(home, 'snapshots', name), 'x');
    const fresh = await Sandboxer.connect({ environment: { PATH: process.env.PATH, SANDBOXER_HOME: home } });
    expect(readdirSync(join(home, 'snapshots'))).toEqual([]);
    await fresh.close();
  });

  it('by backends that can take them only', async () => {
    const simulated = await sandboxer.create({ profile: 'profile.simulated' });
    await expect(simulated.snapshot()).rejects.toMatchObject({ code: 'unsupported' });
    const { snapshot_id: id } = await source.snapshot();
    const elsewhere = sandboxer.restore(id, { profile: 'profile.simulated' });
    await expect(elsewhere).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('snapshots'),
    });
    await sandboxer.deleteSnapshot(id);
  });

  it.runIf(process.getuid?.() === 0)(
    'only where there is room: a full disk is said, and nothing is left',
    async () => {
      const directory = join(bench.home, 'snapshots');
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', directory]);
      try {
        await shell(source, 'head -c 8M /dev/urandom >large');
        const refused = await source.snapshot().catch((error: unknown) => error);
        expect(refused).toMatchObject({
          code: 'store_full',
          nextStep: expect.stringContaining('snapshots list'),
        });
        expect(files()).toEqual([]);
        await shell(source, 'rm large');
        expect((await source.snapshot()).parts).toHaveLength(1);
      } finally {
        execFileSync('umount', [directory]);
      }
    },
  );
});
