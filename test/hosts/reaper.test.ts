/** P3: whatever a loss of power left of its files, and wherever they lie, a stack keeps one reaper and can be looked at. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { OBSERVE, REAPER } from '../../src/extensions/compose-ssh/scripts.ts';
import { temporaryDirectory } from '../standins/simulated-harness.ts';

const NAME = 'sbx-aaaaaaaaaaaa';
const NOBODY = '4194305';
const DEADLINE = '4000000000';
let started: string[] = [];
afterEach(() => {
  for (const pid of new Set(started)) process.kill(Number(pid), 'SIGKILL');
  started = [];
});

/** The files of a stack whose reaper went with the machine's last start. */
function stack(base: string, left: string | null) {
  const state = join(base, '.sandboxer', NAME);
  mkdirSync(state, { recursive: true });
  const files = { epoch: '1\n', up: '0\n', deadline: `${DEADLINE}\n`, 'reaper.pid': `${NOBODY}\n`, left };
  for (const [name, text] of Object.entries(files)) if (text !== null) writeFileSync(join(state, name), text);
  writeFileSync(join(state, 'reaper.sh'), REAPER);
  return {
    state,
    look() {
      const { status, stderr } = spawnSync('sh', ['-c', OBSERVE, 'sh', base, NAME, NAME, 'true'], {
        encoding: 'utf8',
      });
      const reaper = readFileSync(join(state, 'reaper.pid'), 'utf8').trim();
      if (reaper !== NOBODY) started.push(reaper);
      return { status, stderr, reaper };
    },
  };
}

const CLEAN = { status: 0, stderr: '', reaper: expect.not.stringMatching(NOBODY) };

describe('a look at a stack whose reaper is gone', () => {
  for (const [what, left] of [
    ['nothing', ''],
    ['no file', null],
  ] as const) {
    it(`starts it again where a loss of power left ${what} of how long it had`, () => {
      const { state, look } = stack(temporaryDirectory(), left);
      expect(look()).toEqual(CLEAN);
      expect(readFileSync(join(state, 'deadline'), 'utf8').trim()).toBe(DEADLINE);
    });
  }

  for (const directory of ['stacks', 'a[b', 'a*b.c$']) {
    it(`starts one and no more in ${directory}`, async () => {
      const { state, look } = stack(join(temporaryDirectory(), directory), '600\n');
      const { reaper } = look();
      await expect
        .poll(() => readFileSync(`/proc/${reaper}/cmdline`, 'utf8'))
        .toContain(join(state, 'reaper.sh'));
      expect(look()).toEqual({ ...CLEAN, reaper });
    });
  }
});
