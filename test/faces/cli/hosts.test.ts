/** Hosts on the command line: what is typed arrives, and what is answered can be read. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { Bench } from './harness.ts';

const bench = new Bench();
afterAll(() => bench.clear());

const json = async (...words: string[]) => {
  const { stdout, stderr, code } = await bench.run(words);
  expect(stderr, words.join(' ')).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout);
};

describe('sandboxer hosts', () => {
  test('without any says how to register one', async () => {
    const { stdout } = await bench.inTerminal(['hosts', 'list']).ended;
    expect(stdout).toContain('sandboxer hosts add NAME --ssh user@host');
  });

  test('add takes every flag, with the key found from here', async () => {
    const flags =
      '--ssh deploy@box:2222 --key id_lab --jump gate:22 --slots 3 --label zone=lab --label big=yes'.split(
        ' ',
      );
    const more = [
      '--compose-command',
      'docker-compose',
      '--base-directory',
      '/srv',
      '--price-micro-usd-per-hour',
      '7',
    ];
    expect(await json('hosts', 'add', 'box', ...flags, ...more)).toMatchObject({
      name: 'box',
      ssh: 'deploy@box:2222',
      key_file: join(bench.directory, 'id_lab'),
      jump: 'gate:22',
      compose_command: 'docker-compose',
      base_directory: '/srv',
      slots: 3,
      labels: { zone: 'lab', big: 'yes' },
      price_micro_usd_per_hour: 7,
    });
    expect(await json('hosts', 'add', 'here', '--local')).toMatchObject({ local: true, ssh: null });
  });

  test('list, drain and its undoing are to be read on a terminal', async () => {
    const listed = await bench.inTerminal(['hosts', 'list']).ended;
    expect(listed.stdout).toMatch(/box.*takes work.*0\/3.*deploy@box:2222.*added/);
    expect((await bench.inTerminal(['hosts', 'drain', 'box']).ended).stdout).toContain('● draining');
    expect((await bench.inTerminal(['hosts', 'drain', 'box', '--undo']).ended).stdout).toContain(
      '● takes work',
    );
  });

  test('check takes one name or none, and ends with 1 where a host cannot take work', async () => {
    const check = async (...words: string[]) => {
      const { stdout, code } = await bench.run(['hosts', 'check', ...words]);
      const { ok, items } = JSON.parse(stdout) as { ok: boolean; items: { name: string }[] };
      expect(code).toBe(ok ? 0 : 1);
      return new Set(items.map(({ name }) => name));
    };
    expect(await check()).toEqual(new Set(['box', 'here']));
    expect(await check('here')).toEqual(new Set(['here']));
  }, 60_000);

  test('route explain and create know the names, and ask back for one that is none', async () => {
    const wrong: [string[], RegExp, number][] = [
      [
        ['create', '--profile', 'profile.local', '--host', 'bax'],
        /There is no host "bax"[\s\S]*Did you mean box\?/,
        2,
      ],
      [['route', 'explain', '--profile', 'profile.local', '--host', 'bax'], /Did you mean box\?/, 2],
      [
        ['create', '--profile', 'profile.local', '--host', 'box'],
        /ext\.local: has no hosts, and the request names one/,
        7,
      ],
      [['hosts', 'remove', 'bax'], /Did you mean box\?/, 2],
      [['hosts', 'add', 'more'], /either --ssh user@host, or --local/, 2],
      [['hosts', 'add', 'Upper', '--local'], /lower-case letters/, 2],
      [['hosts'], /hosts needs one more word/, 2],
    ];
    for (const [words, said, code] of wrong) {
      const ended = await bench.run(words);
      expect(ended.stderr, words.join(' ')).toMatch(said);
      expect(ended.code).toBe(code);
    }
    const id = await bench.create('--profile', 'profile.local', '--host', '');
    expect((await bench.run(['destroy', id])).code).toBe(0);
  }, 60_000);

  test('remove forgets; a host of the file stays, and says where it is', async () => {
    expect(await json('hosts', 'remove', 'box')).toEqual({ name: 'box', removed: true });
    const file = join(bench.home, 'hosts.yaml');
    writeFileSync(file, '- {name: fixed, ssh: {address: fixed.example.org}}\n');
    const { stderr, code } = await bench.run(['hosts', 'remove', 'fixed']);
    expect(stderr).toContain(`configured in ${file}`);
    expect(code).toBe(5);
    writeFileSync(file, '- {name: fixed, sssh: null}\n');
    const broken = await bench.run(['hosts', 'list']);
    expect(broken.stderr).toMatch(/hosts\.yaml:1:\d+/);
    expect(broken.code).toBe(2);
  });
});
