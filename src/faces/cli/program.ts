/** The command tree, built from the light table; what a command does is loaded when it runs. */
import { Argument, Command, type CommanderError, Option } from 'commander';
import { inWords } from '../../domain/text.ts';
import { COMMANDS } from './commands.gen.ts';
import { usageError } from './failure.ts';
import { ADDED_FLAGS, OWN_COMMANDS } from './own-commands.ts';
import type { CommandSpec, FlagSpec, Values } from './spec.ts';
import type { GlobalFlags } from './terminal.ts';
import { gatherValues } from './values.ts';

export interface Invocation {
  readonly spec: CommandSpec;
  readonly values: Values;
  readonly flags: GlobalFlags;
}

/** First words that stand before others, and what they are about. */
export const GROUPS: Readonly<Record<string, string>> = {
  profiles: 'The recipes',
  extensions: 'The backends',
  hosts: 'The machines that sandboxes can be placed on',
  route: 'How a backend is chosen',
  inspect: 'What runs and lies at the backends',
  reachability: 'How to get in',
  snapshots: 'What was captured',
  tokens: 'API tokens',
};

const HEADINGS: readonly (readonly [string, readonly string[]])[] = [
  [
    'Sandboxes:',
    ['create', 'get', 'list', 'destroy', 'recreate', 'extend-ttl', 'activate', 'expire', 'events'],
  ],
  ['Inside a sandbox:', ['exec', 'shell', 'cp', 'port', 'logs', 'reachability']],
  ['What a sandbox holds:', ['snapshot', 'snapshots', 'restore']],
  ['What there is:', ['profiles', 'extensions', 'hosts', 'route']],
];
const HEADING_REST = 'Running it:';

export const ALL_COMMANDS: readonly CommandSpec[] = [
  ...COMMANDS.map((spec) => ({ ...spec, flags: [...spec.flags, ...(ADDED_FLAGS[spec.operation] ?? [])] })),
  ...OWN_COMMANDS,
];

/** Commander's message as a sentence and what to type: `error: unknown command 'x'\n(Did you mean y?)`. */
function sentencesOf(error: CommanderError, command: Command): Error {
  const [first = '', ...rest] = error.message.replace(/^error: /, '').split('\n');
  const path = [];
  for (let at: Command | null = command; at !== null; at = at.parent) path.unshift(at.name());
  const help = `See: ${path.join(' ')} --help`;
  const hint = rest.join(' ').replace(/^\((.*)\)$/, '$1');
  const sentence = `${first.charAt(0).toUpperCase()}${first.slice(1)}`;
  return usageError(
    sentence.endsWith('.') ? sentence : `${sentence}.`,
    hint === '' ? help : `${hint} ${help}`,
  );
}

/** Thrown instead of leaving the process; help that was asked for is no failure. */
export class HelpShown extends Error {}

function prepare(command: Command): Command {
  return command
    .helpOption('-h, --help', 'Show this help')
    .helpCommand(false)
    .configureOutput({ outputError: () => undefined, writeErr: () => undefined })
    .exitOverride((error) => {
      if (error.exitCode === 0) throw new HelpShown();
      if (error.code !== 'commander.help') throw sentencesOf(error, command);
      const names = command.commands.map((child) => child.name());
      throw usageError(
        `${command.name()} needs one more word: ${inWords(names, 'or')}.`,
        `See: sandboxer ${command.name()} --help`,
      );
    });
}

function option(spec: FlagSpec): Option {
  const choices = spec.choices.length > 0 && !spec.flag.includes('|') ? `: ${spec.choices.join(', ')}` : '';
  const fallback = spec.default === null ? '' : ` (default: ${spec.default})`;
  const repeatable = spec.kind === 'record' ? ' (repeatable)' : '';
  const built = new Option(spec.flag, `${spec.description}${choices}${repeatable}${fallback}`);
  if (spec.choices.length > 0) built.choices([...spec.choices]);
  if (spec.required) built.makeOptionMandatory();
  if (spec.kind === 'record') {
    built.argParser((pair: string, before: string[] | undefined) => [...(before ?? []), pair]);
  }
  return built;
}

function leaf(spec: CommandSpec, run: (invocation: Invocation) => void): Command {
  const command = prepare(new Command(spec.words.at(-1)!)).description(spec.summary);
  for (const argument of spec.arguments) {
    const word = argument.variadic ? `${argument.field}...` : argument.field;
    const name = argument.required ? `<${word}>` : `[${word}]`;
    command.addArgument(new Argument(name, argument.description));
  }
  for (const flag of spec.flags) command.addOption(option(flag));
  command.configureHelp({ showGlobalOptions: true, optionDescription: ({ description }) => description });
  command.addHelpText('after', `\nExamples:\n${spec.examples.map((line) => `  ${line}`).join('\n')}`);
  return command.action(() => {
    const flags = command.optsWithGlobals<GlobalFlags>();
    run({ spec, values: gatherValues(spec, command.processedArgs, command.opts()), flags });
  });
}

function group(program: Command, word: string): Command {
  const found = program.commands.find((command) => command.name() === word);
  if (found !== undefined) return found;
  const about = GROUPS[word];
  if (about === undefined) throw new TypeError(`nothing says what the commands of ${word} are about`);
  const created = prepare(new Command(word)).description(about);
  program.addCommand(created);
  return created;
}

function headingOf(word: string): string {
  return HEADINGS.find(([, words]) => words.includes(word))?.[0] ?? HEADING_REST;
}

/** Parses nothing yet; `run` hears of the one command that the line names. */
export function buildProgram(run: (invocation: Invocation) => void): Command {
  const program = prepare(new Command('sandboxer'))
    .description('Isolated places where agents, validators and builds may run code.')
    .usage('<command> [options]')
    .option('--json', 'Print JSON, also on a terminal')
    .option('--quiet', 'No progress and no summaries')
    .option('--no-color', 'No colours (NO_COLOR=1 does the same)');
  for (const spec of ALL_COMMANDS) {
    const [word, second] = spec.words;
    if (second === undefined) program.addCommand(leaf(spec, run));
    else group(program, word!).addCommand(leaf(spec, run));
  }
  const order = HEADINGS.flatMap(([, words]) => words);
  const place = (command: Command) => {
    const index = order.indexOf(command.name());
    return index === -1 ? order.length : index;
  };
  for (const command of program.commands) command.helpGroup(headingOf(command.name()));
  (program.commands as Command[]).sort((left, right) => place(left) - place(right));
  program.addHelpText(
    'after',
    [
      '',
      'Start with:',
      '  sandboxer create                                 establish one and prove that it works',
      '  sandboxer create --profile profile.local --input repo=.',
      '  sandboxer exec <id> -- sh -c "id; ls"            run something in it',
      '  sandboxer destroy <id>                           take it down',
      '',
      'Without `sandboxer serve` every command works by itself, in its own process. SANDBOXER_HOME says where',
      'everything is kept; SANDBOXER_URL and SANDBOXER_TOKEN name a server elsewhere.',
    ].join('\n'),
  );
  return program;
}
