import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { Bench } from './harness.ts';

const bench = new Bench();
afterAll(() => bench.clear());

async function suggested(...words: string[]): Promise<string[]> {
  const { stdout } = await bench.run(['complete', '--', ...words]);
  return stdout.split('\n').map((line) => line.split('\t')[0]!);
}

describe('completion', () => {
  test.each([['bash'], ['zsh'], ['fish']])('has a script for %s that calls back', async (shell) => {
    const { code, stdout } = await bench.run(['completion', shell]);
    expect(code).toBe(0);
    expect(stdout).toContain('sandboxer complete');
    if (shell !== 'bash') return;
    const path = join(bench.home, 'script');
    writeFileSync(path, stdout);
    execFileSync('bash', ['-n', path]);
  });

  test('knows commands, flags and their values', async () => {
    expect(await suggested('')).toEqual(expect.arrayContaining(['create', 'exec', 'serve', 'profiles']));
    expect(await suggested('profiles', '')).toEqual(expect.arrayContaining(['list', 'show', 'validate']));
    expect(await suggested('create', '--')).toEqual(
      expect.arrayContaining(['--profile', '--input', '--no-wait']),
    );
    expect(await suggested('create', '--actor', '')).toEqual(expect.arrayContaining(['adm', 'agt', 'atm']));
    expect(await suggested('create', '--profile', '')).toContain('profile.local');
  });

  test('knows the sandboxes that live', async () => {
    const id = await bench.create('--profile', 'profile.simulated');
    expect(await suggested('get', '')).toContain(id);
    await bench.run(['destroy', id]);
    expect(await suggested('get', '')).not.toContain(id);
  });

  test('knows nothing, and says nothing, where it cannot look', async () => {
    const environment = { SANDBOXER_HOME: '/dev/null/x' };
    expect(await bench.run(['complete', '--', 'get', ''], { environment })).toMatchObject({
      code: 0,
      stderr: '',
    });
  });
});
