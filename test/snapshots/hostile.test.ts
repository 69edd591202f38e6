/** T13: whatever an archive holds, with a hash that fits: nothing of it leaves its place or exhausts this machine. */
import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { constants, createZstdCompress, zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { ARCHIVE_LIMITS } from '../../src/adapters/snapshot-archives/limits.ts';
import { ArchiveBench, type Content, TOP, tarOf } from './archive-bench.ts';

const MIB = 1024 * 1024;

const file = (name: string, text = 'x'): Content[number] => [{ name: `workspace/${name}` }, text];
const directory = (name: string): Content[number] => [{ name: `workspace/${name}/`, type: 'directory' }];
const symlink = (name: string, linkname: string): Content[number] => [
  { name: `workspace/${name}`, type: 'symlink', linkname },
];
const hardLink = (name: string, linkname: string): Content[number] => [
  { name: `workspace/${name}`, type: 'link', linkname },
];

const HOSTILE: readonly (readonly [what: string, content: Content, sentence: RegExp])[] = [
  ['climbs out by ..', [TOP, file('../../etc/cron.d/x')], /climbs out/],
  ['climbs out in the middle', [TOP, directory('a'), file('a/../../x')], /climbs out/],
  ['has an absolute name', [TOP, [{ name: '/etc/x' }, 'x']], /not where it must be/],
  ['hides an absolute name behind the part', [TOP, file('/etc/x')], /absolute name/],
  ['lies beside its part', [TOP, [{ name: 'elsewhere/x' }, 'x']], /not where it must be/],
  ['has a name with a NUL', [TOP, [{ name: 'workspace/a', pax: { path: 'workspace/a\0b' } }, 'x']], /NUL/],
  ['has a name that is not UTF-8', [TOP, file('a\ufffdb')], /not UTF-8/],
  ['has a name of 300 bytes', [TOP, file('n'.repeat(300))], /too long a name/],
  ['has a path of 5,000 bytes', [TOP, file(`${'d/'.repeat(2_500)}x`)], /too long a name/],
  ['comes without its directory', [TOP, file('a/b/c')], /does not follow its directory/],
  ['comes before its top', [file('a')], /does not follow its directory/],
  ['has a file as its top', [[{ name: 'workspace' }, 'x']], /the top is no directory/],
  ['has its top twice', [TOP, TOP], /comes twice/],
  ['comes twice', [TOP, file('a'), file('a')], /comes twice/],
  ['replaces a directory by a link', [TOP, directory('a'), symlink('a', '.')], /comes twice/],
  ['writes through a link', [TOP, symlink('a', '.'), file('a/x')], /does not follow its directory/],
  ['writes below a file', [TOP, file('a'), file('a/x')], /does not follow its directory/],
  ['links to an absolute place', [TOP, symlink('a', '/etc/passwd')], /leads out/],
  ['links out by ..', [TOP, directory('d'), symlink('d/a', '../../x')], /leads out/],
  ['links out by way of another link', [TOP, directory('d'), symlink('d/a', 'b/../../..')], /leads out/],
  ['links to nothing', [TOP, symlink('a', '')], /link to nothing/],
  ['hard-links out of its part', [TOP, hardLink('a', '/etc/shadow')], /hard link out of its part/],
  ['hard-links out by ..', [TOP, hardLink('a', 'workspace/../../x')], /climbs out/],
  ['hard-links to itself', [TOP, hardLink('a', 'workspace/a')], /hard link to nothing/],
  [
    'hard-links through a link',
    [TOP, symlink('s', '.'), hardLink('a', 'workspace/s/x')],
    /hard link through another link/,
  ],
  ['is a character device', [TOP, [{ name: 'workspace/d', type: 'character-device' }]], /is a device/],
  ['is a block device', [TOP, [{ name: 'workspace/d', type: 'block-device' }]], /is a device/],
  ['is a pipe', [TOP, [{ name: 'workspace/p', type: 'fifo' }]], /is a pipe/],
  [
    'is sparse',
    [TOP, [{ name: 'workspace/s', pax: { 'GNU.sparse.major': '1', 'GNU.sparse.name': '/etc/x' } }, 'x']],
    /sparse/,
  ],
  ['is a second manifest', [TOP, file('a'), [{ name: 'manifest.json' }, '{}']], /not where it must be/],
];

describe('an archive with an entry that', () => {
  for (const [what, content, sentence] of HOSTILE) {
    it(`${what} is refused`, async () => {
      using bench = new ArchiveBench();
      const record = await bench.forge(content, {
        sums: { parts: [{ entries: content.length, bytes: 1, left_out: [] }] },
      });
      await expect(bench.read(record)).rejects.toMatchObject({
        code: 'snapshot_corrupt',
        message: expect.stringMatching(sentence),
      });
    });
  }
});

describe('an archive that', () => {
  const refused = async (
    bench: ArchiveBench,
    record: Awaited<ReturnType<ArchiveBench['forge']>>,
    why: RegExp,
  ) =>
    expect(bench.read(record)).rejects.toMatchObject({
      code: 'snapshot_corrupt',
      message: expect.stringMatching(why),
    });

  it('does not begin with its manifest is refused', async () => {
    using bench = new ArchiveBench();
    await refused(bench, await bench.forge([TOP], { whole: true }), /manifest.json is not where it must be/);
  });

  it('has another manifest than was recorded is refused', async () => {
    using bench = new ArchiveBench();
    const record = await bench.forge([TOP]);
    const other = { ...record, manifest: { ...record.manifest, inputs: { image: '/' } } };
    await refused(bench, other, /manifest is another one/);
  });

  it('has a manifest that is too large is refused before it is read', async () => {
    using bench = new ArchiveBench();
    const large = JSON.stringify({ ...bench.manifest(), engine: 'x'.repeat(2_000_000) });
    await refused(
      bench,
      await bench.forge([[{ name: 'manifest.json' }, large]], { whole: true }),
      /too large/,
    );
  });

  it('has no sums, other sums, or something behind them is refused', async () => {
    using bench = new ArchiveBench();
    const head: Content = [[{ name: 'manifest.json' }, JSON.stringify(bench.manifest())], TOP];
    const sums = (entries: number) => JSON.stringify({ parts: [{ entries, bytes: 0, left_out: [] }] });
    await refused(bench, await bench.forge(head, { whole: true }), /ends before sums.json/);
    const wrong: Content = [...head, [{ name: 'sums.json' }, sums(2)]];
    await refused(bench, await bench.forge(wrong, { whole: true }), /workspace is not complete/);
    const more: Content = [...head, [{ name: 'sums.json' }, sums(1)], file('late')];
    await refused(bench, await bench.forge(more, { whole: true }), /follows its end/);
  });

  it('holds more entries, more bytes, or far more than its size allows is refused', async () => {
    const many = Array.from({ length: 60 }, (_, index) => file(`f${index}`, 'y'.repeat(2_000)));
    for (const limits of [{ entries: 50 }, { bytes: 100_000 }, { ratio: 5, ratioFreeBytes: 10_000 }]) {
      using bench = new ArchiveBench({ ...ARCHIVE_LIMITS, ...limits });
      await refused(bench, await bench.forge([TOP, ...many]), /holds more than/);
    }
  });

  it('is a bomb is given up long before it is unpacked', async () => {
    using bench = new ArchiveBench({ ...ARCHIVE_LIMITS, ratioFreeBytes: 8 * MIB });
    const head = await tarOf([
      [{ name: 'manifest.json' }, JSON.stringify(bench.manifest())],
      TOP,
      file('zeros', '\0'.repeat(256 * MIB)),
    ]);
    const zeros = zstdCompressSync(Buffer.alloc(4 * MIB));
    const bomb = Buffer.concat([zstdCompressSync(head.subarray(0, 4_096)), ...Array(64).fill(zeros)]);
    expect(bomb.length).toBeLessThan(100_000);
    await refused(bench, bench.plant(bomb), /more than 1000 times/);
    expect(process.memoryUsage().rss).toBeLessThan(3 * 1024 ** 3);
  });

  it('has a frame that holds, takes, or needs more memory than any of ours is refused', async () => {
    using bench = new ArchiveBench();
    const refusal = /one of its frames is too large/;
    const most = (await tarOf([[{ name: 'manifest.json' }, JSON.stringify(bench.manifest())]])).subarray(
      0,
      -1_024,
    );
    const full = zstdCompressSync(Buffer.concat([most, Buffer.alloc(4 * MIB - most.length)]));
    await refused(bench, bench.plant(full), /ends before/);
    await refused(bench, bench.plant(zstdCompressSync(Buffer.alloc(4 * MIB + 1))), refusal);
    await refused(bench, bench.plant(zstdCompressSync(randomBytes(5 * MIB))), refusal);
    /* Says that it needs 128 MiB to be unpacked. */
    const wide = createZstdCompress({ params: { [constants.ZSTD_c_windowLog]: 27 } });
    wide.write('lit');
    wide.end('tle');
    await refused(bench, bench.plant(await buffer(wide)), refusal);
    /* Of empty blocks none of which is the last. */
    const endless = Buffer.concat([full.subarray(0, 10), Buffer.alloc(5 * MIB)]);
    await refused(bench, bench.plant(endless), refusal);
  });
});
