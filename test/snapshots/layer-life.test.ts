/** What is kept of a snapshot is whole or not there, and holds up nobody. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { Layers } from '../../src/extensions/local/layers.ts';

const ID = 'snap-aaaaaaaaaaaa';
const FILES = 1_000;
const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
const NO_SIGNAL = new AbortController().signal;
const directories: string[] = [];
const temporaryDirectory = () => {
  const directory = mkdtempSync(join(tmpdir(), 'sandboxer-layers-'));
  directories.push(directory);
  return directory;
};
afterAll(() => {
  execFileSync('rm', ['-rf', ...directories]);
});

/** As deep as a snapshot may be, so that no path of ours has room for what is at its end. */
const fillDeep = async (directory: string) => {
  execFileSync('mkdir', ['-p', Array(16).fill('x'.repeat(250)).join('/')], { cwd: directory });
};
const fillWide = async (directory: string) => {
  for (let index = 0; index < FILES; index += 1) writeFileSync(join(directory, String(index)), '');
};

it('content of any depth is removed, and stands in nobody’s way when a crash left it', async () => {
  const directory = temporaryDirectory();
  const left = join(directory, boot, 'draft-left');
  mkdirSync(left, { recursive: true });
  await fillDeep(left);
  const layers = new Layers(directory, true);
  await layers.prepare(ID, fillDeep, NO_SIGNAL);
  expect(readdirSync(join(directory, boot))).toEqual([ID]);
  await layers.tidy(async () => false);
  expect(readdirSync(join(directory, boot))).toEqual([]);
});

it('what is being removed is given to nobody', async () => {
  const layers = new Layers(temporaryDirectory(), true);
  await layers.prepare(ID, fillWide, NO_SIGNAL);
  let again: Promise<string> | null = null;
  await layers.tidy(async () => {
    setImmediate(() => {
      again = layers.prepare(ID, fillWide, NO_SIGNAL);
    });
    return false;
  });
  expect(readdirSync(await again!)).toHaveLength(FILES);
});

it('two that remove it at once both succeed', async () => {
  const directory = temporaryDirectory();
  const layers = new Layers(directory, true);
  await layers.prepare(ID, fillWide, NO_SIGNAL);
  await Promise.all([layers.tidy(async () => false), layers.tidy(async () => false)]);
  await layers.tidy(async () => false);
  expect(readdirSync(join(directory, boot))).toEqual([]);
});

it('who waits for another to unpack it can be called off', async () => {
  const layers = new Layers(temporaryDirectory(), true);
  const begun = Promise.withResolvers<void>();
  const unpacked = Promise.withResolvers<void>();
  const fill = () => {
    begun.resolve();
    return unpacked.promise;
  };
  const first = layers.prepare(ID, fill, NO_SIGNAL);
  await begun.promise;
  const caller = new AbortController();
  const waiting = layers.prepare(ID, fillWide, caller.signal);
  caller.abort(new Error('called off'));
  await expect(waiting).rejects.toThrow('called off');
  unpacked.resolve();
  await first;
});
