/** A slow disk holds up what waits for it, and nothing else. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { createSystemClock } from '../../src/adapters/clock/system-clock.ts';
import { LogFlusher } from '../../src/adapters/store-sqlite/flush.ts';
import { QuickFlusher } from '../../src/adapters/store-sqlite/quick-flush.ts';

const directory = mkdtempSync(join(tmpdir(), 'sbx-quick-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** A real file, whose flushes take as long as the clock says. */
function fileOn(takesMs: () => number) {
  const path = join(directory, 'file');
  writeFileSync(path, 'x');
  let nowMs = 0;
  const made: string[] = [];
  class TimedFile extends LogFlusher {
    override flush(): Promise<void> {
      made.push('thread');
      return super.flush();
    }

    override flushHere(): void {
      made.push('here');
      super.flushHere();
      nowMs += takesMs();
    }
  }
  const flusher = new QuickFlusher(new TimedFile(path), { ...createSystemClock(), monotonicMs: () => nowMs });
  return { flusher, made };
}

it('flushes on the spot as long as the disk is quick', async () => {
  const { flusher, made } = fileOn(() => 0.1);
  for (let index = 0; index < 5; index += 1) await flusher.flush();
  expect(made).toEqual(['here', 'here', 'here', 'here', 'here']);
  flusher.close();
});

it('leaves the more to a thread the slower it was, and then tries again', async () => {
  const times = [0.75, 0.1, 2.5];
  const { flusher, made } = fileOn(() => times.shift() ?? 0.1);
  for (let index = 0; index < 112; index += 1) await flusher.flush();
  const nine = Array.from({ length: 9 }, () => 'thread');
  expect(made.slice(0, 12)).toEqual(['here', ...nine, 'here', 'here']);
  expect(made.slice(12)).toEqual(Array.from({ length: 100 }, () => 'thread'));
  await flusher.flush();
  expect(made.at(-1)).toBe('here');
  flusher.close();
});

it('fails for good where one flush failed, here or in a thread', async () => {
  const path = join(directory, 'broken');
  writeFileSync(path, 'x');
  const file = new LogFlusher(path);
  const flusher = new QuickFlusher(file, createSystemClock());
  flusher.close();
  await expect(flusher.flush()).rejects.toThrow('EBADF');
  await expect(file.flush()).rejects.toThrow('EBADF');
});
