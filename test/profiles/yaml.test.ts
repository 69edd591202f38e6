/** P18 (T13): a profile is bounded before it is parsed, and a wrong one says file, line, column and reason. */
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { parseProfile } from '../../src/adapters/profiles-yaml/parse.ts';
import { YamlProfileSource } from '../../src/adapters/profiles-yaml/source.ts';

const GOOD = 'id: profile.mine\nversion: "1.0.0"\nextension: ext.local\nttl: {default: 5m, max: 1h}\n';
const directory = mkdtempSync(join(tmpdir(), 'sbx-profiles-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function problemsOf(text: string): readonly string[] {
  const parsed = parseProfile('p.yaml', text);
  return parsed.ok ? [] : parsed.problems;
}

describe('a good profile', () => {
  it('has its defaults filled in', () => {
    const parsed = parseProfile('p.yaml', GOOD);
    expect(parsed.ok && parsed.profile).toMatchObject({
      isolation: { level: 'process' },
      network: { default: 'deny', egress: [] },
      resources: { cpu: null, memory_mb: null, processes: null, allow_degraded: false },
    });
  });
});

describe('a wrong profile', () => {
  const rows: [string, string, RegExp][] = [
    [
      'an unknown field, near a known one',
      `${GOOD}netwrok: {default: deny}\n`,
      /^p\.yaml:5:1 there is no field "netwrok"; did you mean "network"\?$/,
    ],
    [
      'an unknown field inside',
      `${GOOD}resources: {memory: 5}\n`,
      /^p\.yaml:5:13 there is no field "memory" in resources; did you mean "memory_mb"\?$/,
    ],
    ['a wrong type', `${GOOD}resources:\n  memory_mb: lots\n`, /^p\.yaml:6:14 resources\.memory_mb: /],
    ['a duplicate key', `${GOOD}id: profile.other\n`, /^p\.yaml:5:1 .*unique/],
    ['a bad duration', GOOD.replace('5m', 'soon'), /^p\.yaml:4:16 ttl\.default: "soon" is not a duration/],
    ['a default over the maximum', GOOD.replace('5m', '2h'), /^p\.yaml:4:6 ttl: default is longer than max/],
    [
      'no extension and no route',
      GOOD.replace('extension: ext.local\n', ''),
      /name an extension, or a route/,
    ],
    ['a bad id', GOOD.replace('profile.mine', 'Mine'), /^p\.yaml:1:5 id: must look like profile\.my-name/],
    ['broken YAML', `${GOOD}labels: [1, 2\n`, /^p\.yaml:\d+:\d+ /],
    [
      'an alias bomb',
      `a: &a [1,1]\nb: &b [*a,*a]\nc: [*b,*b]\n${GOOD}`,
      /^p\.yaml:2:8 aliases are not allowed/,
    ],
    ['a tag', `${GOOD}config: {x: !!js/function "f"}\n`, /tags are not allowed|Unresolved tag/],
    [
      'a prototype',
      `${GOOD}config: {__proto__: {polluted: true}}\n`,
      /^p\.yaml:5:10 the key __proto__ is not allowed/,
    ],
    ['depth', `${GOOD}config: {x: ${'['.repeat(60)}${']'.repeat(60)}}\n`, /nested deeper than 20/],
    ['size', `${GOOD}# ${'x'.repeat(70_000)}\n`, /^p\.yaml:1:1 is larger than 64 KiB/],
    ['nothing', '', /^p\.yaml:1:1 profile: /],
    ['a list', '- 1\n', /^p\.yaml:1:1 profile: /],
    ['control characters in a key', `${GOOD}"a\\u001b[31m": 1\n`, /there is no field "a\?\[31m"/],
  ];
  for (const [what, text, problem] of rows) {
    it(`with ${what} is refused with place and reason`, () => {
      const problems = problemsOf(text);
      expect(problems.join('\n')).toMatch(problem);
    });
  }

  it('pollutes nothing', () => {
    problemsOf(`${GOOD}config: {__proto__: {polluted: true}}\n`);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
});

describe('any text at all', () => {
  it('is parsed or refused, quickly, and never thrown', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ maxLength: 400 }),
          fc.string({
            unit: fc.constantFrom('a', ':', ' ', '\n', '-', '[', '{', '&', '*', '!', '"', '|', '>'),
            maxLength: 400,
          }),
        ),
        (text) => {
          const beganAtMs = performance.now();
          const parsed = parseProfile('p.yaml', text);
          expect(parsed.ok || parsed.problems.length > 0).toBe(true);
          expect(performance.now() - beganAtMs).toBeLessThan(500);
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('the directories', () => {
  it('are read again when a file changes, later ones winning, and a broken file hides no other', async () => {
    const [first, second] = [join(directory, 'first'), join(directory, 'second')];
    for (const path of [first, second]) mkdirSync(path);
    writeFileSync(join(first, 'profile.mine.yaml'), GOOD);
    writeFileSync(join(first, 'profile.broken.yaml'), 'id: [');
    const source = new YamlProfileSource([first, second, join(directory, 'missing')]);
    expect((await source.get('profile.mine')).profile.version).toBe('1.0.0');
    const file = join(second, 'profile.mine.yaml');
    writeFileSync(file, GOOD.replace('1.0.0', '2.0.0'));
    expect((await source.get('profile.mine')).profile.version).toBe('2.0.0');
    writeFileSync(file, GOOD.replace('1.0.0', '3.0.0'));
    utimesSync(file, 1, 1);
    expect((await source.get('profile.mine')).profile.version).toBe('3.0.0');
    const { entries, broken } = await source.list();
    expect(entries.map(({ profile }) => profile.id)).toEqual(['profile.mine']);
    expect(broken.map(({ file: path }) => path)).toEqual([join(first, 'profile.broken.yaml')]);
    await expect(source.get('profile.broken')).rejects.toMatchObject({ code: 'invalid_profile' });
    await expect(source.get('profile.mien')).rejects.toMatchObject({
      code: 'unknown_profile',
      nextStep: 'Did you mean profile.mine?',
    });
  });
});
