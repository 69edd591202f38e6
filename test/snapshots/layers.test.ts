/** Sandboxes that begin with one snapshot share its content, and never what they make of it. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Sandbox, Sandboxer } from '../../src/faces/library/index.ts';
import { type HttpBench, openHttpBench } from '../faces/http/bench.ts';
import { shell } from '../standins/shell.ts';

const PROFILE = 'profile.local';
const BYTES = 24 * 1024 * 1024;
let bench: HttpBench;
let sandboxer: Sandboxer;
let source: Sandbox;
let snapshotId: string;

const local = () => join(bench.home, 'extensions', 'ext.local');
const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
const layers = () => {
  const directory = join(local(), 'layers', boot);
  return existsSync(directory) ? readdirSync(directory).sort() : [];
};
const layerFile = (...path: string[]) => join(local(), 'layers', boot, snapshotId, ...path);
const boxBytes = (sandbox: Sandbox) => {
  const box = join(local(), 'boxes', `sbx-${sandbox.id}`);
  return readdirSync(box, { recursive: true })
    .map((name) => statSync(join(box, String(name)), { throwIfNoEntry: false })?.size ?? 0)
    .reduce((sum, size) => sum + size, 0);
};

beforeAll(async () => {
  bench = await openHttpBench();
  sandboxer = await bench.client(bench.operatorToken);
  source = await sandboxer.create({ profile: PROFILE });
  await shell(
    source,
    `head -c ${BYTES} /dev/urandom >large && mkdir -m 750 dir && echo one >dir/file && ln dir/file hard`,
  );
  await shell(source, 'echo gone >gone && ln -s dir/file link && chmod 711 /workspace');
  snapshotId = (await source.snapshot()).snapshot_id;
});
afterAll(async () => {
  await sandboxer.close();
  await bench[Symbol.asyncDispose]();
});

describe.runIf(process.getuid?.() === 0)('sandboxes that begin with one snapshot', () => {
  it('have its content as their own user’s, without a copy of it', async () => {
    const restored = await sandboxer.restore(snapshotId);
    expect(layers()).toEqual([snapshotId]);
    expect(boxBytes(restored)).toBeLessThan(BYTES / 10);
    expect(await shell(restored, 'cat link; stat -c "%a %u:%g" . dir dir/file large; ls')).toBe(
      'one\n711 1000:1000\n750 1000:1000\n644 1000:1000\n644 1000:1000\ndir\ngone\nhard\nlarge\nlink\n',
    );
    const root = await restored.run(['stat', '-c', '%u', 'dir/file'], { user: 'root' });
    expect(root.stdout).toBe('1000\n');
    await restored.destroy();
  });

  it('change it for themselves alone', async () => {
    const [one, other] = await Promise.all([sandboxer.restore(snapshotId), sandboxer.restore(snapshotId)]);
    await shell(
      one!,
      'echo two >dir/file; rm gone; mv large larger; rm -r dir; mkdir dir; echo new >dir/new; chmod 700 .',
    );
    expect(await shell(one!, 'ls . dir; stat -c %a .')).toBe(
      '.:\ndir\nhard\nlarger\nlink\n\ndir:\nnew\n700\n',
    );
    expect(await shell(other!, 'cat dir/file gone; ls dir; stat -c %a .')).toBe('one\ngone\nfile\n711\n');
    expect(readFileSync(layerFile('dir', 'file'), 'utf8')).toBe('one\n');
    await Promise.all([one!.destroy(), other!.destroy()]);
    expect(readdirSync(join(local(), 'boxes'))).toEqual([`sbx-${source.id}`]);
  });

  it('can rename the directories they begin with, again and again', async () => {
    const restored = await sandboxer.restore(snapshotId);
    const rename = (from: string, to: string) => `perl -e 'rename("${from}", "${to}") or die "$!\\n"'`;
    await shell(restored, `${rename('dir', 'moved')} && ${rename('moved', 'again')} && mkdir dir`);
    expect(await shell(restored, 'cat again/file; ls dir; stat -c %a again')).toBe('one\n750\n');
    const { snapshot_id: second } = await restored.snapshot();
    const later = await sandboxer.restore(second);
    expect(await shell(later, 'cat again/file; ls dir')).toBe('one\n');
    await Promise.all([restored.destroy(), later.destroy()]);
    await sandboxer.deleteSnapshot(second);
  });

  it('are captured as they are: what they changed, and what they never touched', async () => {
    const restored = await sandboxer.restore(snapshotId);
    await shell(restored, 'rm gone; echo more >>dir/file; echo new >new');
    const { snapshot_id: second } = await restored.snapshot();
    const again = await sandboxer.restore(second);
    const sum = 'sha256sum <large; cat dir/file new; ls';
    expect(await shell(again, sum)).toBe(await shell(restored, sum));
    expect(await shell(again, 'ls')).not.toContain('gone');
    await Promise.all([restored.destroy(), again.destroy()]);
    await sandboxer.deleteSnapshot(second);
    expect(layers()).toEqual([snapshotId]);
  });

  it('go on, also when started anew, after the snapshot is deleted; then nothing of it is kept', async () => {
    const { snapshot_id: id } = await source.snapshot();
    const restored = await sandboxer.restore(id);
    await sandboxer.deleteSnapshot(id);
    expect(layers()).toEqual([id, snapshotId].sort());
    expect(await shell(restored, 'cat dir/file')).toBe('one\n');
    await restored.destroy();
    const { snapshot_id: next } = await source.snapshot();
    await sandboxer.deleteSnapshot(next);
    expect(layers()).toEqual([snapshotId]);
  });

  it('share nothing of an archive that turned out damaged', async () => {
    const { snapshot_id: id } = await source.snapshot();
    const file = join(bench.home, 'snapshots', `${id}.tar.zst`);
    const bytes = readFileSync(file);
    writeFileSync(file, bytes.subarray(0, bytes.length - 20));
    const refused = await Promise.allSettled([sandboxer.restore(id), sandboxer.restore(id)]);
    for (const { status } of refused) expect(status).toBe('rejected');
    expect(layers()).toEqual([snapshotId]);
    await sandboxer.deleteSnapshot(id);
  });

  it('share nothing of an earlier boot', async () => {
    const stale = join(local(), 'layers', 'another-boot', snapshotId);
    mkdirSync(stale, { recursive: true });
    const { snapshot_id: id } = await source.snapshot();
    await sandboxer.deleteSnapshot(id);
    expect(readdirSync(join(local(), 'layers'))).toEqual([boot]);
  });
});

describe.runIf(process.getuid?.() === 0)('where directories cannot be laid over each other', () => {
  const restoreAlone = async (home: string) => {
    const alone = await Sandboxer.connect({ environment: { PATH: process.env.PATH, SANDBOXER_HOME: home } });
    const first = await alone.create({ profile: PROFILE });
    await shell(first, 'echo one >file');
    const { snapshot_id: id } = await first.snapshot();
    const restored = await alone.restore(id);
    expect(await shell(restored, 'cat file && echo two >file && cat file')).toBe('one\ntwo\n');
    const { findings } = await alone.transport.call('doctor', {});
    await Promise.all([first.destroy(), restored.destroy()]);
    await alone.close();
    return findings;
  };
  const copies = expect.objectContaining({
    check: 'shared content of snapshots',
    status: 'warning',
    detail: expect.stringContaining('each restore copies'),
  });

  it('by their names, each sandbox gets a copy, and doctor says so', async () => {
    expect(await restoreAlone(`${bench.home}-a:b`)).toContainEqual(copies);
  });

  it('by the file system, each sandbox gets a copy, and doctor says so', async () => {
    const [lower, upper, work, home] = ['lower', 'upper', 'work', 'home'].map((name) =>
      join(`${bench.home}-over`, name),
    );
    for (const directory of [lower, upper, work, home]) mkdirSync(directory!, { recursive: true });
    const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
    execFileSync('mount', ['-t', 'overlay', '-o', options, 'overlay', home!]);
    try {
      expect(await restoreAlone(home!)).toContainEqual(copies);
    } finally {
      execFileSync('umount', [home!]);
    }
  });
});
