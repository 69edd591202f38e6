import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { card, sandboxList } from '../../../src/faces/cli/render/sandbox.ts';
import { table } from '../../../src/faces/cli/render/table.ts';
import { shortTime } from '../../../src/faces/cli/render/text.ts';
import type { SandboxView } from '../../../src/operations/view.ts';
import { Bench } from './harness.ts';
import { ESCAPE, plain } from './patterns.ts';

const bench = new Bench();
let id: string;
beforeAll(async () => {
  id = await bench.create('--profile', 'profile.simulated', '--label', 'team=red', '--project', 'web');
});
afterAll(() => bench.clear());

const PLAIN = { columns: 80, paint: (_style: unknown, text: string) => text };

describe('standard output', () => {
  test('is JSON with two spaces where nobody watches', async () => {
    const { stdout, stderr } = await bench.run(['get', id]);
    const view = JSON.parse(stdout) as SandboxView;
    expect(view).toMatchObject({ sandbox_id: id, state: 'ready', consumer: { project: 'web' } });
    expect(stdout).toBe(`${JSON.stringify(view, null, 2)}\n`);
    expect(stderr).toBe('');
  });

  test('is JSON on a terminal with --json, a card without', async () => {
    const json = await bench.inTerminal(['get', id, '--json']).ended;
    expect(JSON.parse(json.stdout)).toMatchObject({ sandbox_id: id });
    const human = await bench.inTerminal(['get', id]).ended;
    expect(human.stdout).toMatch(ESCAPE);
    expect(plain(human.stdout)).toMatch(new RegExp(`● ready {2}${id} {2}profile.simulated on ext.simulated`));
    expect(plain(human.stdout)).toContain('team=red');
  });

  test.each([
    [['get', '--no-color'], {}],
    [['get'], { NO_COLOR: '1' }],
    [['get'], { TERM: 'dumb' }],
  ])('has no colour with %j %j', async (words, environment) => {
    const { stdout } = await bench.inTerminal([...words, id], { environment }).ended;
    expect(stdout).not.toMatch(ESCAPE);
    expect(stdout).toContain('● ready');
  });

  test('events are one JSON object a line; lines to read on a terminal', async () => {
    const { stdout } = await bench.run(['events', id]);
    const types = stdout
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { type: string }).type);
    expect(types).toEqual(['requested', 'provision_started', 'ready_proven']);
    const later = await bench.run(['events', id, '--after', '2']);
    expect(later.stdout.trim().split('\n')).toHaveLength(1);
    expect(plain((await bench.inTerminal(['events', id]).ended).stdout)).toMatch(/Z {2}ready proven +ready/);
  });

  test.each([
    [['list'], /ID +STATE +TIME +PROFILE/],
    [['list', '--state', 'failed'], /No sandboxes. Make one: sandboxer create/],
    [['doctor'], /✓ namespaces|✗ namespaces/],
    [['profiles', 'list'], /profile\.local +1\.0\.0/],
    [['profiles', 'show', 'profile.local'], /isolation +\{level: process\}/],
    [['extensions', 'list'], /ext\.simulated +✓ can take work/],
    [['route', 'explain', '--profile', 'profile.sandbox-canary'], /→ +ext\.local +1 +self-hosted/],
    [['inspect', 'host'], /ext\.local .*CPUs/],
    [['inspect', 'stale'], /leave +a live record holds the id/],
    [['expire'], /No sandbox is over its time/],
    [['tokens', 'list'], /No tokens/],
    [['version'], /^sandboxer 0\.\d+\.\d+ \(Node v24/],
  ])('%j is to be read on a terminal', async (words, pattern) => {
    const { code, stdout } = await bench.inTerminal(words).ended;
    expect(plain(stdout)).toMatch(pattern);
    expect(code).toBe(0);
    for (const line of plain(stdout).split('\n')) expect([...line].length).toBeLessThanOrEqual(160);
  });

  test('a reader that leaves early ends it quietly', async () => {
    const running = bench.start(['list']);
    running.process.stdout?.destroy();
    const { code, stderr } = await running.ended;
    expect(stderr).toBe('');
    expect([0, 141]).toContain(code);
  });
});

describe('a page of a list', () => {
  test('says how to get the next one', async () => {
    await bench.create('--profile', 'profile.simulated');
    const { stdout } = await bench.inTerminal(['list', '--limit', '1']).ended;
    const cursor = /more: --cursor (\d+)/.exec(plain(stdout))?.[1];
    expect(cursor).toBeDefined();
    const next = await bench.run(['list', '--limit', '1', '--cursor', cursor!]);
    expect(JSON.parse(next.stdout)).toMatchObject({ items: [{ sandbox_id: id }] });
  });
});

describe('rendering', () => {
  test('cuts the widest column where the terminal is narrow, never the ids', () => {
    const rows = [[{ text: '8efjbvsc5g' }, { text: 'x'.repeat(90) }, { text: 'short' }]];
    const lines = table(['ID', 'LONG', 'END'], rows, { ...PLAIN, columns: 40 })
      .trimEnd()
      .split('\n');
    expect(lines[1]).toBe(`8efjbvsc5g  ${'x'.repeat(20)}…  short`);
  });

  test('lets no control character of the data through', async () => {
    const { stdout } = await bench.run(['get', id]);
    const evil = '\u001b]0;owned\u0007\u001b[2J\u202e';
    const view = JSON.parse(stdout) as SandboxView;
    const hostile: SandboxView = {
      ...view,
      profile_id: evil,
      labels: { [evil]: evil },
      consumer: { actor: 'adm', project: evil, run_id: evil },
      failure: { code: 'internal', message: evil, cleaned_up: evil },
      needs_attention: evil,
      run: { kind: 'create', step: evil, attempt: 1, last_error: evil },
      reachability: { ...view.reachability!, ssh: evil, host: evil, remote_dir: evil },
    };
    const text = card(hostile, PLAIN) + sandboxList({ items: [hostile], next_cursor: null }, PLAIN);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    expect(text.replaceAll('\n', '')).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e]/);
  });

  test.each([
    [0, '0s'],
    [999, '0s'],
    [59_999, '59s'],
    [3_600_000, '1h'],
    [3_661_000, '1h 1m'],
    [90_061_000, '1d 1h'],
    [-5, '0s'],
  ])('%d ms is %s', (durationMs, text) => {
    expect(shortTime(durationMs)).toBe(text);
  });
});
