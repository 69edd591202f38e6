import { afterAll, describe, expect, test } from 'vitest';
import { generateAll } from '../../../scripts/generate.ts';
import { separateCommand } from '../../../src/faces/cli/arguments.ts';
import { ALL_COMMANDS, buildProgram, type Invocation } from '../../../src/faces/cli/program.ts';
import { OPERATION_LIST } from '../../../src/operations/table.ts';
import { Bench } from './harness.ts';
import { plain } from './patterns.ts';

const bench = new Bench();
afterAll(() => bench.clear());

function parsed(...words: string[]): Invocation {
  let found: Invocation | undefined;
  buildProgram((invocation) => {
    found = invocation;
  }).parse(separateCommand(words), { from: 'user' });
  return found!;
}

describe('the light command table', () => {
  test('is what the operation table gives', () => {
    expect(generateAll(false)).toEqual([]);
  });

  test('holds every operation that has a command line', () => {
    const bound = OPERATION_LIST.filter(({ cli }) => typeof cli !== 'string').map(({ name }) => name);
    expect(ALL_COMMANDS.map(({ operation }) => operation)).toEqual(expect.arrayContaining(bound));
  });

  test('gives each command a help with every flag and every example', () => {
    for (const spec of ALL_COMMANDS) {
      const [first, second] = spec.words;
      let command = buildProgram(() => undefined).commands.find((child) => child.name() === first)!;
      if (second !== undefined) command = command.commands.find((child) => child.name() === second)!;
      let text = '';
      command.configureOutput({ writeOut: (part) => (text += part) }).outputHelp();
      for (const { flag } of spec.flags) expect(text).toContain(flag);
      for (const example of spec.examples) expect(text).toContain(example);
      expect(spec.flags.every(({ description }) => description !== '')).toBe(true);
    }
  });

  test('parses the examples of every command', () => {
    for (const spec of ALL_COMMANDS) {
      for (const example of spec.examples.filter((line) => line.startsWith('sandboxer '))) {
        const words = example.replace(/ > .*/, '').replaceAll('"', '').split(' ').slice(1);
        expect(parsed(...words).spec.operation, example).not.toBe('');
      }
    }
  });
});

describe('values', () => {
  test('records repeat, and only the first = separates', () => {
    const { values } = parsed('create', '--input', 'env.A=b=c', '--input', 'x=', '--label', 'team=red');
    expect(values).toEqual({ inputs: { 'env.A': 'b=c', x: '' }, labels: { team: 'red' } });
  });

  test('repo and image become absolute; addresses stay', () => {
    const { values } = parsed('create', '--input', 'repo=./a', '--input', 'image=https://example.org/i.tar');
    expect(values.inputs).toEqual({ repo: `${process.cwd()}/a`, image: 'https://example.org/i.tar' });
  });

  test('--no-wait is wait=false, and nothing when it is not given', () => {
    expect(parsed('create', '--no-wait').values).toEqual({ wait: false });
    expect(parsed('create').values).toEqual({});
  });

  test('numbers, lists and booleans have their types', () => {
    expect(parsed('list', '--limit', '5', '--state', 'ready', 'active').values).toEqual({
      limit: 5,
      state: ['ready', 'active'],
    });
    expect(parsed('events', 'x', '--follow', '--after', '3').values).toEqual({
      id: 'x',
      follow: true,
      after: 3,
    });
  });

  test('global flags work before and after the command', () => {
    expect(parsed('--json', 'list').flags.json).toBe(true);
    expect(parsed('list', '--json', '--quiet', '--no-color').flags).toMatchObject({
      json: true,
      quiet: true,
      color: false,
    });
  });
});

describe('the command of exec', () => {
  test.each([
    [['exec', 'i', '--', 'ls', '-l'], ['ls', '-l'], {}],
    [['exec', 'i', 'ls', '-l', '--env', 'X=1'], ['ls', '-l', '--env', 'X=1'], {}],
    [['exec', 'i', '--env', 'A=b', 'env'], ['env'], { environment: { A: 'b' } }],
    [['exec', '--cwd', '/x', 'i', 'sh', '-c', 'a; b'], ['sh', '-c', 'a; b'], { working_directory: '/x' }],
    [['--json', 'exec', 'i', 'grep', '--help'], ['grep', '--help'], {}],
    [['exec', '-t', 'i', 'top'], ['top'], { tty: true }],
    [['exec', 'i', '--', 'a', '--', 'b'], ['a', '--', 'b'], {}],
  ])('%j', (words, command, rest) => {
    expect(parsed(...words).values).toEqual({ id: 'i', command, ...rest });
  });
});

describe('help', () => {
  test('is shown without arguments, on standard output, with exit code 0', async () => {
    const { code, stdout, stderr } = await bench.run([]);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain('Usage: sandboxer');
    expect(stdout).toContain('sandboxer create');
  });

  test.each([[['help', 'create']], [['create', '--help']], [['create', '-h']]])('%j', async (words) => {
    const { code, stdout } = await bench.run(words);
    expect(code).toBe(0);
    expect(stdout).toContain('--input <name=value>');
    expect(stdout).toContain('Examples:');
  });

  test('needs no home', async () => {
    const environment = { SANDBOXER_HOME: '/dev/null/x' };
    expect((await bench.run(['list', '--help'], { environment })).code).toBe(0);
    expect((await bench.run(['version'], { environment })).code).toBe(0);
  });

  test('fits the terminal', async () => {
    const { stdout } = await bench.inTerminal(['--help']).ended;
    const described = plain(stdout).split('Start with:')[0]!;
    expect(Math.max(...described.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
  });
});
