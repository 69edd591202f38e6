import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { Bench } from './harness.ts';

const bench = new Bench();
afterAll(() => bench.clear());

/** What was typed → what must be said, and the exit code. */
const WRONG: readonly (readonly [words: readonly string[], code: number, said: readonly RegExp[]])[] = [
  [['crate'], 2, [/Unknown command 'crate'/, /Did you mean create\?/]],
  [['profiles', 'lst'], 2, [/Unknown command 'lst'/, /Did you mean list\?/]],
  [['profiles'], 2, [/profiles needs one more word: list, show or validate/]],
  [['list', '--sate', 'ready'], 2, [/Unknown option '--sate'/, /Did you mean --state\?/]],
  [['list', '--state', 'redy'], 2, [/'redy' is invalid/, /Allowed choices are requested/]],
  [['list', '--limit', 'many'], 2, [/--limit takes a whole number, and was given "many"/]],
  [['list', '--limit', '501'], 2, [/limit/]],
  [['list', '--label', 'red'], 2, [/must look like name=value/]],
  [['list', '--cursor', 'x'], 2, [/not a cursor/]],
  [['get'], 2, [/Missing required argument 'id'/, /sandboxer get --help/]],
  [['get', 'a', 'b'], 2, [/Too many arguments/]],
  [['get', 'nosuchid00'], 4, [/There is no sandbox nosuchid00/, /sandboxer list/]],
  [['destroy', '../../etc'], 4, [/There is no sandbox/]],
  [['exec', 'nosuchid00'], 2, [/Missing required argument 'command'/]],
  [['exec', 'nosuchid00', 'ls'], 4, [/There is no sandbox/]],
  [['shell', 'nosuchid00'], 2, [/shell needs a terminal/, /sandboxer exec nosuchid00/]],
  [['extend-ttl', 'nosuchid00'], 2, [/--duration <duration>' not specified/]],
  [['extend-ttl', 'nosuchid00', '--duration', '2h'], 4, [/There is no sandbox/]],
  [['create', '--profile', 'profile.locl'], 2, [/There is no profile "profile.locl"/, /profile\.local/]],
  [['create', '--ttl', '5x'], 2, [/"5x" is not a duration/, /90s, 15m, 2h or 1d/]],
  [['create', '--ttl', '-5m'], 2, [/is not a duration/]],
  [['create', '--ttl', '5h'], 2, [/longer than the 2h/, /--ttl 2h/]],
  [['create', '--input', 'repo'], 2, [/--input takes name=value, and was given "repo"/]],
  [['create', '--actor', 'me'], 2, [/Allowed choices are adm, agt, atm/]],
  [['create', 'profile.local'], 2, [/Too many arguments/]],
  [
    ['create', '--profile', 'profile.broken'],
    2,
    [/profile\.broken\.yaml:4:12/, /\n {2}\S+profile\.broken\.yaml:4:13/],
  ],
  [['create', '--profile', 'profile.nowhere'], 2, [/ext\.nowhere, which is not installed/, /ext\.local/]],
  [['profiles', 'validate', 'own/profile.broken.yaml'], 2, [/profile\.broken\.yaml:4:1/]],
  [['profiles', 'show', 'nothing'], 2, [/There is no profile/]],
  [['cp', 'a', 'b'], 2, [/Neither side names a sandbox/, /<id>:<path>/]],
  [['cp', 'nosuchid00:/a', 'b'], 4, [/There is no sandbox/]],
  [['cp', 'nosuchid00:', 'b'], 2, [/names no path/]],
  [['port', 'nosuchid00', 'http'], 2, [/port takes a whole number/]],
  [['port', 'nosuchid00', '80'], 4, [/There is no sandbox/]],
  [['completion', 'csh'], 2, [/no completion for "csh"/, /bash, zsh, fish/]],
  [['serve', '--port', '70000'], 2, [/--port must be 0 to 65535/]],
  [['serve', '--host', '0.0.0.0', '--port', '0'], 2, [/tokens in the clear/, /--allow-plain-http/]],
  [['tokens', 'revoke', 'none'], 4, [/There is no token none/]],
];

describe('what cannot be understood', () => {
  const broken =
    'id: profile.broken\nversion: "1.0.0"\nextension: ext.simulated\nisolation: {levl: process}\n';
  mkdirSync(join(bench.directory, 'own'), { recursive: true });
  for (const directory of [bench.profiles, join(bench.directory, 'own')]) {
    writeFileSync(join(directory, 'profile.broken.yaml'), `${broken}ttl: {default: 1h, max: 24h}\n`);
  }
  const nowhere = broken
    .replaceAll('broken', 'nowhere')
    .replace('simulated', 'nowhere')
    .replace('levl', 'level');
  writeFileSync(join(bench.profiles, 'profile.nowhere.yaml'), `${nowhere}ttl: {default: 1h, max: 24h}\n`);

  test.concurrent.for(WRONG)('%j', async ([words, code, said], { expect }) => {
    const ended = await bench.run(words);
    expect(ended.code).toBe(code);
    expect(ended.stdout).toBe('');
    for (const pattern of said) expect(ended.stderr).toMatch(pattern);
    expect(ended.stderr).toMatch(/^✗ \S/);
    expect(ended.stderr).not.toMatch(/\n {4}at |node:internal|ZodError/);
  });

  test('--json gives the problem as a document on standard error', async () => {
    for (const words of [
      ['get', 'nosuchid00', '--json'],
      ['crate', '--json'],
    ]) {
      const { stdout, stderr } = await bench.run(words);
      expect(stdout).toBe('');
      expect(JSON.parse(stderr)).toMatchObject({
        code: expect.any(String),
        detail: expect.any(String),
        fault: 'user',
      });
    }
  });

  test('control characters of what was typed do not reach the terminal', async () => {
    const { stderr } = await bench.run(['get', 'a\u001b[31mb']);
    expect(stderr).toContain('There is no sandbox a?[31mb');
  });

  test('an address that is none, a server that is not there, a token that is missing', async () => {
    const cases = [
      [{ SANDBOXER_URL: 'nonsense' }, 2, /not an http or https address/],
      [{ SANDBOXER_URL: 'http://127.0.0.1:9' }, 3, /SANDBOXER_TOKEN is not/],
      [{ SANDBOXER_URL: 'http://127.0.0.1:9', SANDBOXER_TOKEN: 'x' }, 9, /does not answer/],
      [{ SANDBOXER_HOME: '/dev/null/x' }, 9, /cannot be used/],
    ] as const;
    for (const [environment, code, said] of cases) {
      const ended = await bench.run(['list'], { environment });
      expect([ended.code, ended.stdout]).toEqual([code, '']);
      expect(ended.stderr).toMatch(said);
    }
  });

  test('a defect is one sentence; its trace only where it is asked for', async () => {
    writeFileSync(
      join(bench.directory, 'broken.cjs'),
      "require('node:fs').existsSync = () => { throw new Error('odd') }\n",
    );
    const environment = { NODE_OPTIONS: `--require ${join(bench.directory, 'broken.cjs')}` };
    const silent = await bench.run(['list'], { environment });
    expect(silent.code).toBe(70);
    expect(silent.stderr).not.toContain('odd');
    const loud = await bench.run(['list'], { environment: { ...environment, SANDBOXER_DEBUG: '1' } });
    expect(loud.stderr).toContain('odd');
  });
});
