/** The entry of the command `sandboxer`. What a command needs is loaded when it runs, so that help is instant. */
import { separateCommand } from './arguments.ts';
import { reportFailure } from './failure.ts';
import { ALL_COMMANDS, buildProgram, HelpShown, type Invocation } from './program.ts';
import { flushed, Terminal } from './terminal.ts';

/** Flags that hold before the line is understood, for a line that never is. */
function earlyTerminal(words: readonly string[]): Terminal {
  const end = words.indexOf('--');
  const own = end === -1 ? words : words.slice(0, end);
  return new Terminal({
    json: own.includes('--json'),
    quiet: own.includes('--quiet'),
    color: !own.includes('--no-color'),
  });
}

/** Other ways to ask for the same: `help create`, `--version`. */
function usual(words: readonly string[]): readonly string[] {
  const [first, ...rest] = words;
  if (first === 'help')
    return ALL_COMMANDS.some((spec) => spec.words[0] === rest[0]) ? [...rest, '--help'] : rest;
  return first === '--version' || first === '-V' ? ['version', ...rest] : words;
}

function parse(words: readonly string[]): Invocation | null {
  let found: Invocation | null = null;
  const program = buildProgram((invocation) => {
    found = invocation;
  });
  if (words.length === 0) {
    program.outputHelp();
    return null;
  }
  try {
    program.parse(separateCommand(words), { from: 'user' });
  } catch (error) {
    if (!(error instanceof HelpShown)) throw error;
  }
  return found;
}

async function main(words: readonly string[]): Promise<number> {
  let terminal = earlyTerminal(words);
  try {
    if (words[0] === 'complete') {
      const { answerCompletion } = await import('./completion.ts');
      await answerCompletion(words.slice(1));
      return 0;
    }
    const invocation = parse(usual(words));
    if (invocation === null) return 0;
    terminal = new Terminal(invocation.flags);
    const { runCommand } = await import('./run.ts');
    return await runCommand(invocation, terminal);
  } catch (error) {
    return reportFailure(error, terminal);
  }
}

function fail(error: unknown): never {
  process.exit(reportFailure(error, earlyTerminal(process.argv.slice(2))));
}

process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);
process.stdout.on('error', fail);
process.stderr.on('error', () => process.exit(1)); // there is nobody left to tell
const exitCode = await main(process.argv.slice(2));
await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
process.exit(exitCode);
