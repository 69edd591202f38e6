/** An archive of what changed, honest or not, laid over another: what comes out is held to the rules as if it were one. */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { ARCHIVE_LIMITS } from '../../src/adapters/snapshot-archives/limits.ts';
import type { SnapshotRecord } from '../../src/ports/snapshot-archives.ts';
import {
  ArchiveBench,
  type Content,
  chunked,
  entriesOf,
  NO_ABORT,
  TOP,
  tarOf,
  WORKSPACE,
} from './archive-bench.ts';

const BASE = 'snap-00000000ba5e';
const file = (name: string, text = 'x'): Content[number] => [{ name: `workspace/${name}` }, text];
const directory = (name: string): Content[number] => [{ name: `workspace/${name}/`, type: 'directory' }];
const symlink = (name: string, linkname: string): Content[number] => [
  { name: `workspace/${name}`, type: 'symlink', linkname },
];
const unchanged = (...names: string[]): Content[number] => [
  { name: 'unchanged' },
  names.map((name) => `${name}\0`).join(''),
];
const FULL: Content = [TOP, directory('d'), file('d/x', 'old x'), file('d/y', 'old y'), file('e', 'old e')];

/** Both archives say and hold what is given. */
async function forged(bench: ArchiveBench, base: Content, changes: Content) {
  const record = await bench.forge(base, { id: BASE });
  const own = await bench.forge(changes, { basedOn: BASE });
  return { record: own, base: record };
}

async function readAll(bench: ArchiveBench, stored: { record: SnapshotRecord; base: SnapshotRecord | null }) {
  const entries: Record<string, unknown>[] = [];
  for await (const { open } of bench.archives.read(stored, () => true, NO_ABORT))
    entries.push(...(await entriesOf(open(''))));
  return entries.map(({ name, text }) => [name, text]);
}

const refused = async (bench: ArchiveBench, base: Content, changes: Content, why: RegExp) =>
  expect(readAll(bench, await forged(bench, base, changes))).rejects.toMatchObject({
    code: 'snapshot_corrupt',
    message: expect.stringMatching(why),
  });

describe('what changed over what did not', () => {
  it('is one tree in order, in which what changed comes in its place', async () => {
    using bench = new ArchiveBench();
    const changes: Content = [
      unchanged('d/x', 'e'),
      TOP,
      directory('d'),
      file('d/a', 'new a'),
      file('d/z', 'new z'),
      directory('d-'),
    ];
    expect(await readAll(bench, await forged(bench, FULL, changes))).toEqual([
      ['./', ''],
      ['d/', ''],
      ['d/a', 'new a'],
      ['d/x', 'old x'],
      ['d/z', 'new z'],
      ['d-/', ''],
      ['e', 'old e'],
    ]);
  });

  it('takes all that is in a directory from the base where that is told with a slash, and nothing beside it', async () => {
    using bench = new ArchiveBench();
    const base: Content = [
      TOP,
      directory('d'),
      directory('d/e'),
      file('d/e/x', 'old x'),
      file('d/y', 'old y'),
      file('d-', 'old'),
      directory('f'),
      file('f/g', 'old g'),
      file('f/h', 'old h'),
    ];
    const changes: Content = [unchanged('d/', 'f', 'f/h'), TOP, directory('f'), file('f/a', 'new a')];
    expect(await readAll(bench, await forged(bench, base, changes))).toEqual([
      ['./', ''],
      ['d/', ''],
      ['d/e/', ''],
      ['d/e/x', 'old x'],
      ['d/y', 'old y'],
      ['f/', ''],
      ['f/a', 'new a'],
      ['f/h', 'old h'],
    ]);
  });

  it('is skipped, and its base left alone, where nobody wants the workspace', async () => {
    using bench = new ArchiveBench();
    const stored = await forged(bench, FULL, [unchanged('e'), TOP]);
    await bench.archives.remove(BASE);
    for await (const _ of bench.archives.read(stored, () => false, NO_ABORT)) expect.unreachable();
  });

  it('is refused without its base, over another one, and over one that is itself no whole one', async () => {
    using bench = new ArchiveBench();
    const { record, base } = await forged(bench, FULL, [unchanged('e'), TOP]);
    const other = await bench.forge(FULL, { id: 'snap-000000000007' });
    const layered = await bench.forge([unchanged('e'), TOP], { id: BASE, basedOn: 'snap-000000000007' });
    for (const [what, why] of [
      [null, /builds on is gone/],
      [other, /builds on is gone/],
      [base, /manifest is another one/], // its file was replaced
      [layered, /no whole snapshot/],
    ] as const)
      await expect(readAll(bench, { record, base: what })).rejects.toMatchObject({
        code: 'snapshot_corrupt',
        message: expect.stringMatching(why),
      });
  });

  it('leaves no file open when it is refused because of its base', async () => {
    using bench = new ArchiveBench();
    const { record, base } = await forged(bench, FULL, [unchanged('e'), TOP]);
    /* As many frames as are not read ahead, of what follows the manifest. */
    const noise = Array.from({ length: 4 }, () => zstdCompressSync(randomBytes(3 * 1024 * 1024)));
    const path = join(bench.directory, `${BASE}.tar.zst`);
    const { sums } = base;
    const large = bench.plant(Buffer.concat([readFileSync(path), ...noise]), base.manifest, sums);
    const other = { ...large, manifest: { ...large.manifest, engine: 'another' } };
    await expect(readAll(bench, { record, base: other })).rejects.toMatchObject({
      code: 'snapshot_corrupt',
    });
    const open = readdirSync('/proc/self/fd').map((number) => {
      try {
        return readlinkSync(`/proc/self/fd/${number}`);
      } catch {
        return ''; // the directory that was read here
      }
    });
    expect(open.filter((path) => path.includes(BASE))).toEqual([]);
  });

  it('is refused where one of both files is not what was written, wherever it differs', async () => {
    using bench = new ArchiveBench();
    const stored = await forged(bench, FULL, [unchanged('d', 'd/x'), TOP, file('e', 'new')]);
    for (const id of [stored.record.id, BASE]) {
      const path = `${bench.directory}/${id}.tar.zst`;
      const bytes = readFileSync(path);
      for (let at = 0; at < bytes.length; at += 7) {
        const turned = Buffer.from(bytes);
        turned[at]! ^= 1 << (at % 8);
        writeFileSync(path, turned);
        await expect(readAll(bench, stored), `${id} ${at}`).rejects.toMatchObject({
          code: 'snapshot_corrupt',
        });
        await expect(bench.archives.prove(stored, NO_ABORT)).rejects.toMatchObject({
          code: 'snapshot_corrupt',
        });
      }
      writeFileSync(path, bytes);
    }
    await bench.archives.prove(stored, NO_ABORT);
    expect(await readAll(bench, stored)).toHaveLength(4);
  });

  const HOSTILE: readonly (readonly [what: string, base: Content, changes: Content, why: RegExp])[] = [
    [
      'writes through a link that takes the place of a directory',
      FULL,
      [unchanged('d/x'), TOP, symlink('d', 'e')],
      /d\/x does not follow its directory/,
    ],
    [
      'keeps what lies in a directory that it does not keep',
      FULL,
      [unchanged('d/x'), TOP],
      /d\/x does not follow its directory/,
    ],
    [
      'writes through a link of the base',
      [TOP, symlink('d', '.')],
      [unchanged('d'), TOP, file('d/x')],
      /d\/x does not follow its directory/,
    ],
    ['links out', FULL, [unchanged('e'), TOP, symlink('out', '../..')], /leads out/],
    ['lets the base link out', [TOP, symlink('out', '/etc')], [unchanged('out'), TOP], /leads out/],
    [
      'links through a link of the base',
      [TOP, symlink('a', '.')],
      [unchanged('a'), TOP, [{ name: 'workspace/b', type: 'link', linkname: 'workspace/a/x' }]],
      /hard link through another link/,
    ],
    ['has names out of order', FULL, [unchanged('e', 'd'), TOP], /not in order/],
    ['has a name twice', FULL, [unchanged('e', 'e'), TOP], /not in order/],
    ['has half a name', FULL, [[{ name: 'unchanged' }, 'd\0e'], TOP], /end in the middle/],
    ['is itself out of order', FULL, [unchanged('d'), TOP, file('z'), file('a')], /not in order/],
    [
      'lies over a base out of order',
      [TOP, file('z'), file('a')],
      [unchanged('a', 'z'), TOP],
      /not in order/,
    ],
    ['has no names', FULL, [TOP], /unchanged is not where it must be/],
    [
      'has names that are no file',
      FULL,
      [[{ name: 'unchanged', type: 'directory' }], TOP],
      /unchanged is not where it must be/,
    ],
    ['climbs out in the base', [TOP, file('../x')], [unchanged('x'), TOP], /climbs out/],
  ];
  for (const [what, base, changes, why] of HOSTILE) {
    it(`is refused where it ${what}`, async () => {
      using bench = new ArchiveBench();
      await refused(bench, base, changes, why);
    });
  }

  it('is refused where both together are more than one may be, or the names are', async () => {
    const changes: Content = [unchanged('d', 'd/x', 'd/y'), TOP, file('e', 'y'.repeat(90)), file('f')];
    for (const [limits, why] of [
      [{ entries: 5 }, /more than 5 entries/],
      [{ bytes: 95 }, /more than 95 bytes/],
      [{ namesBytes: 5 }, /unchanged is too large/],
    ] as const) {
      using bench = new ArchiveBench({ ...ARCHIVE_LIMITS, ...limits });
      await refused(bench, FULL, changes, why);
    }
  });
});

describe('an archive of what changed', () => {
  const write = async (bench: ArchiveBench, content: Content) => {
    const open = async () => chunked(await tarOf(content));
    const manifest = { ...bench.manifest(), based_on: BASE };
    return bench.archives.write(manifest, [{ part: WORKSPACE[0]!, isChanges: true, open }], NO_ABORT);
  };

  it('is not made of a source without the names, with too many, or with names out of order', async () => {
    using bench = new ArchiveBench({ ...ARCHIVE_LIMITS, namesBytes: 10 });
    const names = (text: string): Content => [[{ name: 'names' }, text], [{ name: './', type: 'directory' }]];
    await expect(write(bench, [[{ name: './', type: 'directory' }]])).rejects.toThrow(/not where it must be/);
    await expect(write(bench, names('a\0'.repeat(6)))).rejects.toThrow(/too many names/);
    await expect(write(bench, names('b\0a\0').concat([[{ name: './c' }, 'x']]))).rejects.toThrow(
      /not in order/,
    );
    expect((await write(bench, names('a\0b\0'))).sums.parts[0]).toMatchObject({ entries: 1 });
  });
});
