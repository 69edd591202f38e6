/** Our reader and writer of tar beside the programs that people have. Root's machine has them all (scripts/setup-lab.sh). */
import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Damage } from '../../src/adapters/snapshot-archives/damage.ts';
import { encodeHeader } from '../../src/adapters/snapshot-archives/tar-header.ts';
import { TarReader } from '../../src/adapters/snapshot-archives/tar-reader.ts';
import { ArchiveBench, chunked, NO_ABORT, tarOf, WORKSPACE } from './archive-bench.ts';

const isRoot = process.getuid?.() === 0;
const GIB = 1024 ** 3;
const LONG = 'n'.repeat(120);
const LONGER = 'd'.repeat(200);

/** Names, types, modes, contents and times of files, where links lead; BusyBox sets no times of anything else. */
const TREE = `find . -type f -printf '%P %m %n %T@\\n' -o -printf '%P %y %m %l\\n' | LC_ALL=C sort && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum`;
const treeOf = (directory: string) =>
  execFileSync('sh', ['-c', TREE], { cwd: directory, encoding: 'utf8' }).replaceAll(/\.0+ /g, ' ');

async function namesOf(tar: Uint8Array, chunkBytes = 1_000): Promise<string[]> {
  const reader = new TarReader(chunked(tar, chunkBytes));
  const names: string[] = [];
  for (let entry = await reader.take(); entry !== null; entry = await reader.take()) names.push(entry.name);
  return names;
}

describe('tar', () => {
  let source: string;
  let work: string;

  beforeAll(() => {
    work = mkdtempSync(join(tmpdir(), 'sbx-tar-'));
    source = join(work, 'source');
    const deep = join(source, LONGER, LONGER);
    mkdirSync(deep, { recursive: true, mode: 0o750 });
    const files = ['short', 'ümläut ☃', ' blank ', "quote'", LONG, `${LONGER}/${LONG}`, 'new\nline'];
    for (const name of files) writeFileSync(join(source, name), `content of ${name}`);
    writeFileSync(join(deep, 'deep'), 'x'.repeat(70_000), { mode: 0o755 });
    writeFileSync(join(source, 'empty'), '', { mode: 0o400 });
    writeFileSync(join(source, 'block'), 'b'.repeat(512));
    linkSync(join(deep, 'deep'), join(source, 'same'));
    symlinkSync(`${LONGER}/${LONGER}/deep`, join(source, 'way'));
    execFileSync('sh', ['-c', 'find . -type f -print0 | xargs -0 touch -d @1600000000'], { cwd: source });
  });
  afterAll(() => rmSync(work, { recursive: true, force: true }));

  const writers: [name: string, words: string[]][] = [
    ['GNU', ['tar', '--format=gnu']],
    ['GNU, POSIX form', ['tar', '--format=posix']],
    ['GNU with a global record', ['tar', '--format=posix', '--pax-option=comment=of-all']],
    ['GNU, other blocking', ['tar', '--format=gnu', '--blocking-factor=1']],
    ...(isRoot ? ([['BusyBox', ['busybox', 'tar']]] as [string, string[]][]) : []),
  ];
  const readers: [name: string, words: string[]][] = [
    ['GNU', ['tar', '-x']],
    ...(isRoot ? ([['BusyBox', ['busybox', 'tar', '-x']]] as [string, string[]][]) : []),
  ];

  for (const [writer, [program, ...options]] of writers) {
    for (const [reader, [other, ...words]] of readers) {
      it(`written by ${writer} and read by ${reader} is the same tree after it went through an archive`, async () => {
        using bench = new ArchiveBench();
        const bytes = execFileSync(program!, [...options, '-c', '-f', '-', '-C', source, '.'], {
          maxBuffer: 10 * 1024 * 1024,
        });
        const record = await bench.capture([{ part: WORKSPACE[0]!, tar: bytes }]);
        const target = mkdtempSync(join(work, 'target-'));
        for await (const { open } of bench.archives.read({ record, base: null }, () => true, NO_ABORT)) {
          const input = await buffer(open(''));
          execFileSync(other!, [...words, '-p', '-f', '-', '-C', target], { input });
        }
        expect(treeOf(target)).toBe(treeOf(source));
      });
    }
  }

  it.runIf(isRoot)('in an archive of many frames is read by zstd and tar', async () => {
    using bench = new ArchiveBench();
    const bytes = execFileSync('sh', ['-c', 'head -c 14000000 /dev/urandom'], {
      maxBuffer: 20 * 1024 * 1024,
    });
    const half = bytes.toString('latin1').slice(0, 7_000_000);
    const tar = await tarOf([
      [{ name: './', type: 'directory' }],
      [{ name: './noise' }, bytes as unknown as string],
      [{ name: './text' }, half],
    ]);
    const record = await bench.capture([{ part: WORKSPACE[0]!, tar }]);
    const listed = execFileSync('sh', ['-c', 'zstd -dc "$1" | tar -t', 'sh', bench.file], {
      encoding: 'utf8',
    });
    const names = ['manifest.json', 'workspace/', 'workspace/noise', 'workspace/text', 'sums.json'];
    expect(listed.trim().split('\n')).toEqual(names);
    const [entries] = await bench.read(record);
    expect(entries![1]!.text === bytes.toString('latin1')).toBe(true);
    expect(entries![2]!.text === Buffer.from(half).toString('latin1')).toBe(true);
  });

  it('says sizes from 8 GiB on as GNU tar does, and reads them in both forms', async () => {
    const large = join(work, 'large');
    execFileSync('truncate', ['-s', '9G', large]);
    for (const form of ['gnu', 'posix']) {
      const script = `tar --format=${form} -c -f - -C "$1" large 2>/dev/null | head -c 20480`;
      const beginning = execFileSync('sh', ['-c', script, 'sh', work]);
      const entry = await new TarReader(chunked(beginning)).take();
      expect(entry, form).toMatchObject({ name: 'large', sizeBytes: 9 * GIB, type: 'file' });
    }
    const header = encodeHeader(
      {
        path: 'huge',
        type: 'file',
        sizeBytes: 9 * GIB + 1,
        modeBits: 0o640,
        modifiedAtS: 0x7fff_ffff,
        userId: 0x7fff_ffff,
        groupId: 0o7777777,
        linkTarget: null,
      },
      'top',
    );
    expect(await new TarReader(chunked(header)).take()).toMatchObject({
      name: 'top/huge',
      sizeBytes: 9 * GIB + 1,
      userId: 0x7fff_ffff,
      groupId: 0o7777777,
      modifiedAtS: 0x7fff_ffff,
    });
    const script = 'tar --numeric-owner --utc -t -v -f - 2>/dev/null; :';
    const listed = execFileSync('sh', ['-c', script], { input: header, encoding: 'utf8' });
    expect(listed.replaceAll(/ +/g, ' ')).toContain('2147483647/2097151 9663676417 2038-01-19 03:14');
  });

  it('is the same however its bytes come', async () => {
    const bytes = execFileSync('tar', ['--format=posix', '-c', '-f', '-', '-C', source, '.']);
    const names = await namesOf(bytes, bytes.length);
    expect(names.length).toBeGreaterThan(10);
    for (const chunkBytes of [1, 7, 511, 512, 513, 4_096])
      expect(await namesOf(bytes, chunkBytes)).toEqual(names);
  });
});

describe('what is no tar', () => {
  const content = () =>
    tarOf([
      [{ name: 'a' }, 'x'.repeat(700)],
      [{ name: 'b'.repeat(150) }, 'y'],
      [{ name: 'c' }, ''],
    ]);

  it('ends too early is never taken for whole, wherever it ends', async () => {
    const whole = await content();
    const end = whole.length - 1_024;
    expect(await namesOf(whole)).toHaveLength(3);
    for (let length = 1; length <= end; length += 37)
      await expect(namesOf(whole.subarray(0, length)), `${length} bytes`).rejects.toThrow(Damage);
    await expect(namesOf(whole.subarray(0, end))).rejects.toThrow(/ends before its end/);
  });

  it('has a wrong sum, another format, or something behind its end is refused', async () => {
    const whole = await content();
    const changed = (at: number, text: string) => {
      const bytes = Buffer.from(whole);
      bytes.write(text, at, 'latin1');
      return bytes;
    };
    await expect(namesOf(changed(0, 'z'))).rejects.toThrow(/broken header/);
    await expect(namesOf(changed(148, '9999'))).rejects.toThrow(/broken header/);
    await expect(namesOf(changed(whole.length - 5, 'late'))).rejects.toThrow(/follows its end/);
    const other = changed(257, 'xstar\0');
    const sum = other
      .subarray(0, 512)
      .reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
    other.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    await expect(namesOf(other)).rejects.toThrow(/unknown format/);
  });

  it('has a broken or an endless record is refused', async () => {
    const record = async (text: string) => {
      const header = encodeHeader(
        {
          path: 'record',
          type: 'file',
          sizeBytes: text.length,
          modeBits: 0,
          modifiedAtS: 0,
          userId: 0,
          groupId: 0,
          linkTarget: null,
        },
        '',
      );
      header[156] = 'x'.charCodeAt(0);
      const sum = header.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
      header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
      const filling = Buffer.alloc((512 - (text.length % 512)) % 512);
      return Buffer.concat([header, Buffer.from(text, 'latin1'), filling, await content()]);
    };
    expect((await namesOf(await record('16 path=hello/x\n')))[0]).toBe('hello/x');
    for (const text of [
      '17 path=hello/x\n',
      '900 path=x\n',
      'path=x\n',
      '0 a=b\n',
      '-5 a=b\n',
      '12 size=-1e9\n',
      '10 size=x\n',
    ])
      await expect(namesOf(await record(text)), text).rejects.toThrow(Damage);
    await expect(namesOf(await record('x'.repeat(2_000_000)))).rejects.toThrow(/too large an extension/);
    const one = (await record('16 path=hello/x\n')).subarray(0, 1_024);
    const many = Buffer.concat([...Array.from({ length: 20 }, () => one), await content()]);
    await expect(namesOf(many)).rejects.toThrow(/too many extensions/);
  });

  it('is empty has no entries', async () => {
    expect(await namesOf(Buffer.alloc(0))).toEqual([]);
    expect(await namesOf(Buffer.alloc(1_024))).toEqual([]);
    expect(await namesOf(Buffer.alloc(10_240))).toEqual([]);
  });

  it('is garbage is refused, and a damaged one gives names or is refused (property)', async () => {
    const whole = await content();
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 1, maxLength: 2_000 }).filter((bytes) => bytes.some((byte) => byte !== 0)),
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        async (garbage, changes) => {
          await expect(namesOf(garbage)).rejects.toThrow(Damage);
          const bytes = Buffer.from(whole);
          for (const [at, value] of changes) bytes[at] = value;
          const said = await namesOf(bytes).catch((error: unknown) => error);
          expect(Array.isArray(said) || said instanceof Damage).toBe(true);
        },
      ),
      { numRuns: 200 },
    );
  });
});
