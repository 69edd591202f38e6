import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { type Header, pack } from 'tar-stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { newCount } from '../../../src/faces/cli/pack.ts';
import { unpackInto } from '../../../src/faces/cli/unpack.ts';

type Entry = Partial<Header> & { readonly name: string; readonly content?: string };

let outside: string;
let root: string;
beforeEach(() => {
  outside = mkdtempSync('/tmp/sbc-');
  root = join(outside, 'root');
  mkdirSync(root);
});
afterEach(() => rmSync(outside, { recursive: true, force: true }));

async function unpack(entries: readonly Entry[], top = 'top') {
  const archive = pack();
  for (const { content, ...header } of entries) archive.entry(header, content ?? '');
  archive.finalize();
  const count = newCount();
  await unpackInto(root, top, archive as AsyncIterable<Uint8Array>, count);
  return count;
}

/** Nothing but the root is there. */
function nothingOutside(): void {
  expect(readdirSync(outside)).toEqual(['root']);
}

describe('an archive made by a stranger', () => {
  test.each([
    ['../evil'],
    ['top/../../evil'],
    ['top/a/../../../evil'],
    ['/tmp/evil'],
    ['/'],
    ['elsewhere/evil'],
    ['..'],
    ['top/..'],
  ])('the name %s ends the copy', async (name) => {
    await expect(unpack([{ name, content: 'x' }])).rejects.toMatchObject({ code: 'invalid_input' });
    nothingOutside();
  });

  test('the top itself cannot be a file or a link', async () => {
    for (const type of ['file', 'symlink'] as const) {
      await expect(unpack([{ name: 'top', type, linkname: 'x' }])).rejects.toMatchObject({
        code: 'invalid_input',
      });
    }
  });

  test.each([['/etc'], ['..'], ['../..'], ['a/../../..']])(
    'a link to %s is left out, and nothing is written through it',
    async (linkname) => {
      const entries: Entry[] = [
        { name: 'top/way', type: 'symlink', linkname },
        { name: 'top/way/evil', content: 'x' },
      ];
      const count = await unpack(entries);
      expect(count.leftOut).toHaveLength(1);
      expect(lstatSync(join(root, 'way')).isDirectory()).toBe(true);
      nothingOutside();
    },
  );

  test('a link that stays below is made, and yet never walked through', async () => {
    const link: Entry = { name: 'top/way', type: 'symlink', linkname: 'real' };
    await unpack([{ name: 'top/real/', type: 'directory' }, link]);
    expect(lstatSync(join(root, 'way')).isSymbolicLink()).toBe(true);
    await expect(unpack([link, { name: 'top/way/file', content: 'x' }])).rejects.toMatchObject({
      code: 'invalid_input',
    });
    expect(existsSync(join(root, 'real', 'file'))).toBe(false);
  });

  test('a link that was here before is neither followed nor written to', async () => {
    symlinkSync(outside, join(root, 'way'));
    await expect(unpack([{ name: 'top/way/evil', content: 'x' }])).rejects.toMatchObject({
      code: 'invalid_input',
    });
    nothingOutside();
    symlinkSync(join(outside, 'victim'), join(root, 'file'));
    await unpack([{ name: 'top/file', content: 'x' }]);
    nothingOutside();
    expect(readFileSync(join(root, 'file'), 'utf8')).toBe('x');
  });

  test.each([['/etc/passwd'], ['top/../../victim'], ['top/way/passwd'], ['top/missing']])(
    'a second name for %s ends the copy',
    async (linkname) => {
      symlinkSync('/etc', join(root, 'way'));
      await expect(unpack([{ name: 'top/second', type: 'link', linkname }])).rejects.toMatchObject({
        code: 'invalid_input',
      });
      expect(existsSync(join(root, 'second'))).toBe(false);
    },
  );

  test('devices and pipes are left out', async () => {
    const count = await unpack([
      { name: 'top/null', type: 'character-device', devmajor: 1, devminor: 3 },
      { name: 'top/disk', type: 'block-device', devmajor: 8, devminor: 0 },
      { name: 'top/pipe', type: 'fifo' },
    ]);
    expect(count.leftOut).toHaveLength(3);
    expect(readdirSync(root)).toEqual([]);
  });

  test('set-user-id bits are dropped', async () => {
    await unpack([{ name: 'top/su', mode: 0o6755, content: 'x' }]);
    expect(lstatSync(join(root, 'su')).mode & 0o7777).toBe(0o755);
  });

  test('an archive that breaks off is an error', async () => {
    async function* cutShort() {
      const archive = pack();
      archive.entry({ name: 'top/file' }, 'x'.repeat(5_000));
      archive.finalize();
      for await (const chunk of archive as AsyncIterable<Uint8Array>) {
        yield chunk.subarray(0, 700);
        return;
      }
    }
    await expect(unpackInto(root, 'top', cutShort(), newCount())).rejects.toMatchObject({
      code: 'invalid_input',
    });
  });
});

test('what is honest arrives: files, directories nobody may write to, second names', async () => {
  const count = await unpack([
    { name: 'top/', type: 'directory' },
    { name: 'top/shut/', type: 'directory', mode: 0o555 },
    { name: 'top/shut/file', mode: 0o640, content: 'hello' },
    { name: 'top/second', type: 'link', linkname: 'top/shut/file' },
    { name: `top/${'long/'.repeat(60)}name`, content: 'far' },
  ]);
  expect(readFileSync(join(root, 'shut', 'file'), 'utf8')).toBe('hello');
  expect(readFileSync(join(root, 'second'), 'utf8')).toBe('hello');
  expect(lstatSync(join(root, 'shut')).mode & 0o777).toBe(0o555);
  expect(lstatSync(join(root, 'shut', 'file')).mode & 0o777).toBe(0o640);
  expect(count).toMatchObject({ files: 3, leftOut: [] });
});
