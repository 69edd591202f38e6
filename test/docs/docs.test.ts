/** Documents say what is so: commands exist, files are there, the specification names tests that exist. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { COMMANDS } from '../../src/faces/cli/commands.gen.ts';
import { OPERATION_LIST } from '../../src/operations/table.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const pages = [
  ...readdirSync(ROOT).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];
const text = (page: string) => readFileSync(join(ROOT, page), 'utf8');

const OWN_COMMANDS = ['serve', 'shell', 'cp', 'completion', 'port', 'version'];
const known = [...COMMANDS.map(({ words }) => words.join(' ')), ...OWN_COMMANDS];

function isKnown(line: string): boolean {
  const words = line
    .replace(/^(\$ )?(\.\/)?sandboxer /, '')
    .split(/\s+/)
    .filter((word) => !word.startsWith('-'));
  return known.some((command) => `${words.join(' ')} `.startsWith(`${command} `)) || line.includes('--help');
}

describe('documents', () => {
  for (const page of pages) {
    it(`${page}: every command exists`, () => {
      const lines = [...text(page).matchAll(/^(?:\$ )?(?:\.\/)?sandboxer [a-z].*$/gm)].map(([line]) => line);
      const inline = [...text(page).matchAll(/`(sandboxer [a-z][^`]*)`/g)].map((match) => match[1]!);
      expect([...lines, ...inline].filter((line) => !isKnown(line))).toEqual([]);
    });

    it(`${page}: every link leads somewhere`, () => {
      const targets = [...text(page).matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map((match) => match[1]!);
      expect(targets.filter((target) => !existsSync(join(ROOT, dirname(page), target)))).toEqual([]);
    });
  }

  it('the specification names tests that exist', () => {
    const named = [...text('SPECIFICATION.md').matchAll(/`(test\/[^`]+)`/g)].map((match) => match[1]!);
    expect(named.length).toBeGreaterThan(15);
    expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });
});

describe('every operation', () => {
  it('is on HTTP once, and on the command line or says why not', () => {
    const routes = OPERATION_LIST.map(({ http }) => `${http.method} ${http.path}`);
    expect(new Set(routes).size).toBe(routes.length);
    for (const operation of OPERATION_LIST) {
      if (typeof operation.cli === 'string') expect(operation.cli.length, operation.name).toBeGreaterThan(5);
      else expect(known, operation.name).toContain(operation.cli.command.join(' '));
    }
  });

  it('has an example that names a known command', () => {
    for (const { name, examples } of OPERATION_LIST) {
      expect(examples.length, name).toBeGreaterThan(0);
      for (const example of examples) expect(isKnown(example.replace(/^.*\| /, '')), example).toBe(true);
    }
  });
});
