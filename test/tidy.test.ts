/** What a machine can hold of the house rules. When one gets in the way of better code, change it here and say why. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ERROR_REGISTRY } from '../src/domain/errors.ts';
import { STATES } from '../src/domain/sandbox/lifecycle.ts';

const ROOT = resolve(import.meta.dirname, '..');

function filesBelow(directory: string, pattern: RegExp): string[] {
  return readdirSync(join(ROOT, directory), { recursive: true, encoding: 'utf8' })
    .filter((name) => pattern.test(name) && !name.includes('node_modules'))
    .map((name) => join(directory, name))
    .sort();
}

const sources = filesBelow('src', /\.ts$/).filter((file) => !file.endsWith('.gen.ts'));
const code = sources.filter((file) => !file.endsWith('.test.ts'));
const native = filesBelow('src', /\.[ch]$/);
const tests = filesBelow('test', /\.ts$/);
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');
/** Comments and strings may speak of what code may not do. */
const withoutComments = (text: string) =>
  text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|\s)\/\/.*$/gm, '');

/** Layer → what it may import. `src/main.ts` and tests know everything. */
const ALLOWED_IMPORTS: Readonly<Record<string, readonly string[]>> = {
  domain: ['domain'],
  ports: ['ports', 'domain'],
  operations: ['operations', 'domain', 'ports', 'engine'],
  engine: ['engine', 'domain', 'ports'],
  adapters: ['adapters', 'domain', 'ports', 'engine'],
  conformance: ['conformance', 'domain', 'ports'],
  faces: ['faces', 'operations', 'engine', 'domain', 'ports'],
};

/** An exception and its reason. */
const EXCEPTIONS: Readonly<Record<string, string>> = {
  'src/faces/library/connect.ts -> src/main.ts': 'the library composes an engine where no server runs',
  'src/faces/library/connect.ts -> src/adapters/home/home.ts':
    'finds the socket before anything heavy is loaded',
  'src/faces/library/local-transport.ts -> src/main.ts': 'types only',
};

function layerOf(file: string): string | null {
  return /^src\/([a-z]+)\//.exec(file)?.[1] ?? null;
}

function importsOf(file: string): string[] {
  const matches = read(file).matchAll(/(?:from|import\()\s*'(\.[^']+)'/g);
  return [...matches].map((match) => relative(ROOT, resolve(ROOT, dirname(file), match[1]!)));
}

describe('imports', () => {
  it('go inwards only', () => {
    const broken = code.flatMap((file) => {
      const layer = layerOf(file);
      if (layer === null || layer === 'extensions') return [];
      return importsOf(file)
        .filter((target) => !ALLOWED_IMPORTS[layer]!.includes(layerOf(target) ?? 'main'))
        .map((target) => `${file} -> ${target}`)
        .filter((edge) => EXCEPTIONS[edge] === undefined && !edge.startsWith('src/faces/cli/'));
    });
    expect(broken).toEqual([]);
  });

  it('of an extension reach ports, domain and itself, never another extension', () => {
    const broken = code
      .filter((file) => file.startsWith('src/extensions/'))
      .flatMap((file) => {
        const own = file.split('/').slice(0, 3).join('/');
        return importsOf(file)
          .filter((target) => !target.startsWith(own) && !['ports', 'domain'].includes(layerOf(target) ?? ''))
          .map((target) => `${file} -> ${target}`);
      });
    expect(broken).toEqual([]);
  });
});

describe('dependencies', () => {
  it('are all used: each is something to trust, to load and to keep up to date', () => {
    const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> };
    const text = code.map(read).join('\n');
    const isUsed = (name: string) => text.includes(`'${name}'`) || text.includes(`'${name}/`);
    expect(Object.keys(dependencies).filter((name) => !isUsed(name))).toEqual([]);
  });
});

const BANNED: readonly [pattern: RegExp, instead: string, exempt: RegExp][] = [
  [/\bDate\.now\(/, 'the Clock port', /^src\/(adapters|main)/],
  [/\bMath\.random\(/, 'the Entropy port', /^src\/adapters/],
  [/\bset(Timeout|Interval)\(/, 'the Clock port', /^src\/adapters/],
  [/(?<![.\w])fetch\(/, 'a client of the adapter', /^src\/adapters/],
  [/\bexecSync\(|shell: true/, 'an argument vector', /^$/],
  [/\bnew Date\(\)/, 'the Clock port', /^src\/adapters/],
  [/console\.(log|error|warn)\(/, 'the Log port, or process.stdout in the CLI', /^$/],
  [/catch\s*(\([^)]*\))?\s*\{\s*\}/, 'rethrow, convert, or one comment that names the fallback', /^$/],
  [/:\s*any\b|\bas any\b|@ts-ignore|@ts-nocheck/, 'a type', /^$/],
];

describe('banned', () => {
  for (const [pattern, instead, exempt] of BANNED) {
    it(`${pattern.source}: use ${instead}`, () => {
      const text = pattern.source.startsWith('catch') ? read : (file: string) => withoutComments(read(file));
      const found = code.filter((file) => !exempt.test(file) && pattern.test(text(file)));
      expect(found).toEqual([]);
    });
  }

  it('states are compared by the table, never by literal', () => {
    const names = Object.keys(STATES).join('|');
    const comparison = new RegExp(`\\.?state\\s*(===|!==|==|!=)\\s*'(${names})'|case '(${names})':`);
    const found = code
      .filter((file) => !file.includes('/extensions/') && !file.endsWith('lifecycle.ts'))
      .filter((file) =>
        comparison.test(withoutComments(read(file)).replaceAll(/seen\.state|observation\.state/g, 'seen')),
      );
    expect(found).toEqual([]);
  });

  it('left-over marks, skipped and focused tests', () => {
    const marks = new RegExp(['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX', 'HA' + 'CK'].join('|'));
    const focus = /\b(it|describe|test)\.(only|skip|todo)\(/;
    expect([...sources, ...native, ...tests].filter((file) => marks.test(read(file)))).toEqual([]);
    expect(tests.filter((file) => focus.test(read(file)))).toEqual([]);
  });
});

describe('size', () => {
  const lines = (file: string) => read(file).split('\n').length;

  it('no file is over 500 lines, and half are below 130', () => {
    const sizes = [...code, ...native]
      .map((file) => ({ file, lines: lines(file) }))
      .sort((left, right) => left.lines - right.lines);
    expect(sizes.filter((entry) => entry.lines > 500)).toEqual([]);
    expect(sizes[Math.floor(sizes.length / 2)]!.lines).toBeLessThanOrEqual(130);
    expect(sizes[Math.floor(sizes.length * 0.9)]!.lines).toBeLessThanOrEqual(300);
  });

  it('no function is over 70 lines', () => {
    const long = code.flatMap((file) =>
      [
        ...read(file).matchAll(
          /^( *)(?:export )?(?:async )?(?:function\*? \w+|(?:#|static |async |get )*\w+\([^)]*\)[^;{=]*)[^;]*?\{\n([\s\S]*?)\n\1\}/gm,
        ),
      ]
        .map((match) => ({ file, head: match[0].split('\n')[0]!.trim(), lines: match[0].split('\n').length }))
        .filter(
          (entry) =>
            entry.lines > 70 && !/^(describe|class|export class|interface|export interface)/.test(entry.head),
        ),
    );
    expect(long).toEqual([]);
  });
});

describe('the error registry', () => {
  it('has only codes that are used', () => {
    const text = code
      .filter((file) => file !== 'src/domain/errors.ts')
      .map(read)
      .join('\n');
    expect(Object.keys(ERROR_REGISTRY).filter((name) => !text.includes(`'${name}'`))).toEqual([]);
  });

  it('gives statuses and exit codes that exist', () => {
    for (const [name, row] of Object.entries(ERROR_REGISTRY)) {
      expect(row.httpStatus, name).toBeGreaterThanOrEqual(400);
      expect(row.httpStatus, name).toBeLessThan(600);
      expect(row.exitCode, name).toBeGreaterThan(1);
      expect(row.exitCode, name).toBeLessThan(256);
    }
  });
});
