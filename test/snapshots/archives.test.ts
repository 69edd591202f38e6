/** What goes into an archive comes out of it, and nothing else is ever taken for it. */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ARCHIVE_LIMITS } from '../../src/adapters/snapshot-archives/limits.ts';
import { SandboxerError } from '../../src/domain/errors.ts';
import { eachDone } from '../../src/domain/streams.ts';
import {
  ArchiveBench,
  type Content,
  chunked,
  entriesOf,
  ID,
  NO_ABORT,
  tarOf,
  WORKSPACE,
} from './archive-bench.ts';

const workspace = async (content: Content) => ({ part: WORKSPACE[0]!, tar: await tarOf(content) });
const CORRUPT = { code: 'snapshot_corrupt' };

/** Any name that a directory can have, and that UTF-8 can say. */
const fileName = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 40 })
  .filter(
    (name) =>
      !/[/\0\ufffd]/.test(name) &&
      !['.', '..'].includes(name) &&
      name.isWellFormed() &&
      Buffer.byteLength(name) <= 255,
  );
const names = fc.uniqueArray(fileName, { minLength: 1, maxLength: 12 });

describe('an archive', () => {
  it('gives back every name and every content, however odd (property)', async () => {
    await fc.assert(
      fc.asyncProperty(names, names, fc.uint8Array({ maxLength: 3_000 }), async (above, below, bytes) => {
        using bench = new ArchiveBench();
        const text = Buffer.from(bytes).toString('latin1');
        const content: Content = [
          [{ name: './', type: 'directory' }],
          ...below.map((name): Content[number] => [{ name: `./${name}`, mode: 0o640 }, text]).slice(1),
          [{ name: `./${below[0]}/`, type: 'directory', mode: 0o750 }],
          ...above.map((name): Content[number] => [{ name: `./${below[0]}/${name}` }, `of ${name}`]),
        ];
        const record = await bench.capture([await workspace(content)]);
        const [entries] = await bench.read(record);
        const wanted = content.map(([{ name }]) => (name === './' ? './' : name.slice(2)));
        expect(entries!.map(({ name }) => name)).toEqual(wanted);
        const raw = (written: string) => Buffer.from(written, 'utf8').toString('latin1');
        expect(entries!.map((entry) => entry.text)).toEqual(content.map(([, written]) => raw(written ?? '')));
      }),
      { numRuns: 60 },
    );
  });

  it('keeps parts apart, links as links, and numbers only where they mean something', async () => {
    using bench = new ArchiveBench();
    const volume = { kind: 'volume', name: 'data', service: 'db' } as const;
    const record = await bench.capture([
      await workspace([
        [{ name: './', type: 'directory', mode: 0o755, uid: 4_242 }],
        [{ name: './a', mode: 0o4755, uid: 7, gid: 7 }, 'content of a'],
        [{ name: './b', type: 'link', linkname: './a' }],
        [{ name: './c', type: 'symlink', linkname: 'a' }],
      ]),
      {
        part: volume,
        tar: await tarOf([
          [{ name: 'data/', type: 'directory', mode: 0o2770, uid: 999, gid: 999 }],
          [{ name: 'data/x', mode: 0o4700, pax: { uid: '300000', gid: '300000' } }, 'content of x'],
        ]),
      },
    ]);
    expect(record.sums.parts).toEqual([
      { entries: 4, bytes: 12, left_out: [] },
      { entries: 2, bytes: 12, left_out: [] },
    ]);
    const parts: unknown[] = [];
    for await (const { part, open } of bench.archives.read({ record, base: null }, () => true, NO_ABORT))
      parts.push([part, await entriesOf(open(part.kind === 'volume' ? 'top' : ''))]);
    expect(parts).toMatchObject([
      [
        { kind: 'workspace' },
        [
          { name: './', type: 'directory', uid: 1_000 },
          { name: 'a', mode: 0o755, uid: 1_000, gid: 1_000, text: 'content of a' },
          { name: 'b', type: 'link', linkname: 'a' },
          { name: 'c', type: 'symlink', linkname: 'a' },
        ],
      ],
      [
        volume,
        [
          { name: 'top/', type: 'directory', mode: 0o2770, uid: 999, gid: 999 },
          { name: 'top/x', mode: 0o700, uid: 300_000, gid: 300_000, text: 'content of x' },
        ],
      ],
    ]);
  });

  it('is the same however its frames are cut', async () => {
    using bench = new ArchiveBench();
    const record = await bench.capture([
      await workspace([
        [{ name: './', type: 'directory' }],
        [{ name: `./${'n'.repeat(200)}` }, 'x'.repeat(1_500)],
        [{ name: './link', type: 'symlink', linkname: 't'.repeat(150) }],
      ]),
    ]);
    const entries = await bench.read(record);
    const tar = zstdDecompressSync(readFileSync(bench.file));
    for (const frameBytes of [100, 511, 512, 1_300]) {
      const frames: Buffer[] = [];
      for (let at = 0; at < tar.length; at += frameBytes)
        frames.push(zstdCompressSync(tar.subarray(at, at + frameBytes)));
      const cut = bench.plant(Buffer.concat(frames), record.manifest, record.sums);
      expect(await bench.read(cut), `${frameBytes} bytes`).toEqual(entries);
    }
  });

  it('comes out whole whether its pieces are given back or kept', async () => {
    using bench = new ArchiveBench();
    const noise = randomBytes(20 * 1024 * 1024);
    const content: Content = [
      [{ name: './', type: 'directory' }],
      [{ name: './noise' }, noise as unknown as string],
    ];
    /* At once, so that frames are filled quicker than they are compressed. */
    const record = await bench.capture([await workspace(content)], NO_ABORT, noise.length);
    const kept: Uint8Array[] = [];
    const copies: Uint8Array[] = [];
    const memory = new Set<ArrayBufferLike>();
    for await (const { open } of bench.archives.read({ record, base: null }, () => true, NO_ABORT))
      for await (const piece of open('')) kept.push(piece);
    for await (const { open, reuse } of bench.archives.read({ record, base: null }, () => true, NO_ABORT)) {
      for await (const piece of eachDone(open(''), reuse)) {
        memory.add(piece.buffer);
        copies.push(Uint8Array.from(piece));
      }
    }
    const whole = Buffer.concat(kept);
    expect(whole.includes(noise)).toBe(true);
    expect(whole.equals(Buffer.concat(copies))).toBe(true);
    expect(memory.size).toBeLessThan(4);
    expect(copies.length).toBeGreaterThan(10);
  });

  it('is one file of its owner alone, and nothing but that file', async () => {
    using bench = new ArchiveBench();
    await bench.capture([await workspace([[{ name: './', type: 'directory' }]])]);
    expect(readdirSync(bench.directory)).toEqual([`${ID}.tar.zst`]);
    expect(statSync(bench.file).mode & 0o777).toBe(0o600);
  });

  it('leaves out what a restore could not take, and says so by name', async () => {
    using bench = new ArchiveBench();
    const record = await bench.capture([
      await workspace([
        [{ name: './', type: 'directory' }],
        [{ name: './out', type: 'symlink', linkname: '/etc/passwd' }],
        [{ name: './up', type: 'symlink', linkname: '../../etc/passwd' }],
        [{ name: './pipe', type: 'fifo' }],
        [{ name: './same-pipe', type: 'link', linkname: './pipe' }],
        [{ name: './disk', type: 'block-device' }],
        [{ name: './kept' }, 'kept'],
      ]),
    ]);
    expect(record.sums.parts[0]).toEqual({
      entries: 2,
      bytes: 4,
      left_out: [
        '2 entries, each of which is a link that leads out: out, up',
        'one entry, each of which is a pipe: pipe',
        'one entry, each of which is a hard link to something that is left out: same-pipe',
        'one entry, each of which is a device: disk',
      ],
    });
    expect((await bench.read(record))[0]!.map(({ name }) => name)).toEqual(['./', 'kept']);
  });

  it('is not made of a source that lies, breaks off, or rejects; no file is left', async () => {
    using bench = new ArchiveBench();
    const climbing = await workspace([[{ name: './', type: 'directory' }], [{ name: './../x' }, 'x']]);
    await expect(bench.capture([climbing])).rejects.toThrow(/gave something else.*climbs out/);
    const honest = await workspace([
      [{ name: './', type: 'directory' }],
      [{ name: './x' }, 'y'.repeat(9_000)],
    ]);
    await expect(bench.capture([{ ...honest, tar: honest.tar.subarray(0, 4_000) }])).rejects.toThrow();
    await expect(bench.capture([{ ...honest, tar: new Uint8Array() }])).rejects.toThrow(/gave nothing/);
    const broken = bench.archives.write(
      bench.manifest(),
      [
        {
          part: WORKSPACE[0]!,
          async open() {
            return (async function* () {
              yield* chunked(honest.tar.subarray(0, 2_000));
              throw new SandboxerError('backend_failed', 'The cable was pulled.');
            })();
          },
        },
      ],
      NO_ABORT,
    );
    await expect(broken).rejects.toMatchObject({ message: 'The cable was pulled.' });
    const stop = AbortSignal.abort(new SandboxerError('cancelled', 'no more'));
    await expect(bench.capture([honest], stop)).rejects.toThrow();
    expect(readdirSync(bench.directory)).toEqual([]);
  });

  it('is not made of more than it may hold', async () => {
    const content: Content = [[{ name: './', type: 'directory' }], [{ name: './x' }, 'x'.repeat(50_000)]];
    for (const limits of [{ entries: 1 }, { bytes: 49_999 }, { ratio: 2, ratioFreeBytes: 1_000 }]) {
      using bench = new ArchiveBench({ ...ARCHIVE_LIMITS, ...limits });
      const refused = bench.capture([await workspace(content)]);
      await expect(refused, JSON.stringify(limits)).rejects.toMatchObject({ code: 'snapshot_too_large' });
      expect(readdirSync(bench.directory)).toEqual([]);
    }
  });
});

describe('a damaged archive', () => {
  const content: Content = [
    [{ name: './', type: 'directory' }],
    ...Array.from({ length: 40 }, (_, index): Content[number] => [
      { name: `./f${index}` },
      `${index}`.repeat(2_000),
    ]),
  ];

  it('is refused wherever a bit was turned', async () => {
    using bench = new ArchiveBench();
    const record = await bench.capture([await workspace(content)]);
    const bytes = readFileSync(bench.file);
    for (let index = 0; index < bytes.length; index += Math.max(1, Math.floor(bytes.length / 150))) {
      const turned = Buffer.from(bytes);
      turned[index]! ^= 1 << (index % 8);
      writeFileSync(bench.file, turned);
      await expect(bench.read(record), `byte ${index}`).rejects.toMatchObject(CORRUPT);
    }
  });

  it('is refused wherever it was cut off, or something was put behind it', async () => {
    using bench = new ArchiveBench();
    const record = await bench.capture([await workspace(content)]);
    const bytes = readFileSync(bench.file);
    for (let length = 0; length < bytes.length; length += Math.max(1, Math.floor(bytes.length / 60))) {
      writeFileSync(bench.file, bytes.subarray(0, length));
      await expect(bench.read(record), `${length} bytes`).rejects.toMatchObject(CORRUPT);
    }
    writeFileSync(bench.file, Buffer.concat([bytes, bytes]));
    await expect(bench.read(record)).rejects.toMatchObject(CORRUPT);
  });

  it('is refused when it is gone, is another one, or is no archive at all', async () => {
    using bench = new ArchiveBench();
    const record = await bench.capture([await workspace(content)]);
    const other = await bench.forge([[{ name: 'workspace/', type: 'directory' }]]);
    expect(await bench.read(other)).toHaveLength(1);
    await expect(bench.read(record)).rejects.toMatchObject(CORRUPT);
    await expect(bench.read(bench.plant(Buffer.from('no archive')))).rejects.toMatchObject(CORRUPT);
    await bench.archives.remove(ID);
    await expect(bench.read(record)).rejects.toMatchObject({
      ...CORRUPT,
      message: expect.stringContaining('gone'),
    });
  });

  it('is refused when a part was not read to its end', async () => {
    using bench = new ArchiveBench();
    const record = await bench.capture([await workspace(content)]);
    const skipping = async () => {
      for await (const { part } of bench.archives.read({ record, base: null }, () => true, NO_ABORT))
        expect(part.kind).toBe('workspace');
    };
    await expect(skipping()).rejects.toThrow(/not read to its end/);
  });

  it('gives the parts that are wanted, and proves the others all the same', async () => {
    using bench = new ArchiveBench();
    const volume = { kind: 'volume', name: 'data', service: 'db' } as const;
    const record = await bench.capture([
      await workspace(content),
      { part: volume, tar: await tarOf(content) },
    ]);
    const seen: string[] = [];
    for await (const { part, open } of bench.archives.read(
      { record, base: null },
      ({ kind }) => kind === 'volume',
      NO_ABORT,
    )) {
      seen.push(part.kind);
      expect(await entriesOf(open(''))).toHaveLength(41);
    }
    expect(seen).toEqual(['volume']);
  });
});

describe('after a crash', () => {
  it('drafts and files that nothing is known of are removed, others stay', async () => {
    using bench = new ArchiveBench();
    const names = [
      'snap-000000000001.tar.zst',
      'snap-000000000002.tar.zst',
      'snap-000000000003.partial',
      'mine',
    ];
    for (const name of names) writeFileSync(`${bench.directory}/${name}`, 'x');
    await bench.archives.removeLeftovers(async (id) => id === ID);
    expect(readdirSync(bench.directory).sort()).toEqual(['mine', 'snap-000000000001.tar.zst']);
  });
});
