/** A command that a server answers is quick: it loads nothing of what only a server needs. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { temporaryDirectory } from '../../standins/simulated-harness.ts';

const MAIN = join(import.meta.dirname, '..', '..', '..', 'src', 'faces', 'cli', 'main.ts');
const TELL_WHAT_LOADS = `
import { registerHooks } from 'node:module';
registerHooks({ load(url, context, next) { process.stderr.write(url + '\\n'); return next(url, context); } });
`;

it.each([['get', 'abcdefghjk'], ['create'], ['exec', 'abcdefghjk', '--', 'true']])('%s', (...words) => {
  const directory = temporaryDirectory();
  const hook = join(directory, 'hook.mjs');
  writeFileSync(hook, TELL_WHAT_LOADS);
  const environment = {
    PATH: process.env.PATH,
    SANDBOXER_HOME: directory,
    SANDBOXER_URL: 'http://127.0.0.1:1',
    SANDBOXER_TOKEN: 'none',
  };
  const { stderr } = spawnSync(process.execPath, ['--import', hook, MAIN, ...words], {
    env: environment,
    encoding: 'utf8',
  });
  const loaded = stderr.split('\n').filter((line) => line.startsWith('file:'));
  expect(stderr).toContain('does not answer');
  expect(loaded.some((url) => url.endsWith('/faces/library/http-transport.ts'))).toBe(true);
  expect(
    loaded.filter((url) => /\/node_modules\/zod\/|\/src\/operations\/|\/src\/main\.ts$/.test(url)),
  ).toEqual([]);
});
