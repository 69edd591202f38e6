/** How an argument vector becomes the one string that sshd hands to the login shell. The only place that writes shell. */
import { ExtensionError } from '../../ports/extension.ts';
import type { HostCommand } from '../../ports/host-link.ts';

const PLAIN_WORD = /^[A-Za-z0-9_./:@%+,-]+$/;
const ENVIRONMENT_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * One word of a POSIX shell, whatever characters `text` holds. Quotes and backslashes stand outside the single quotes,
 * so that fish, which reads backslashes inside them, sees the same word.
 */
export function quoteWord(text: string): string {
  if (text.includes('\0')) throw new ExtensionError('invalid', 'A word of a command holds a NUL character.');
  if (PLAIN_WORD.test(text)) return text;
  return `'${text.replaceAll(/['\\]/g, (character) => `'\\${character}'`)}'`;
}

/**
 * Runs on the host. It says its process id (which is its group's too) before it starts the program, and marks an exit
 * code of 255, so that `ssh` failing and the program failing can be told apart. `$0` is the mark, `$1` the directory
 * or nothing; the rest is for `env`, by which the word `echo` means the program and not the shell's own. The trap is not
 * inherited: it keeps the shell until the program has ended and was reaped.
 */
const SCRIPT = [
  'trap : TERM',
  'printf "%s+%s\\n" "$0" "$$" >&2',
  '[ -z "$1" ] || cd -- "$1" || exit 127',
  'shift',
  'env -- "$@"',
  'code=$?',
  '[ "$code" -ne 255 ] || printf "%s-" "$0" >&2',
  'exit "$code"',
].join('; ');

/** Throws `invalid` for what no program could be given: a NUL, a bad variable name, a relative directory. */
export function checkCommand({ command, workingDirectory, environment = {} }: HostCommand): void {
  const refuse = (sentence: string) => {
    throw new ExtensionError('invalid', sentence);
  };
  if (command.length === 0 || command[0] === '') refuse('A command needs a program.');
  if (command[0]?.includes('=')) refuse('The name of a program cannot hold an equals sign.');
  if (workingDirectory != null && !workingDirectory.startsWith('/'))
    refuse('The working directory of a command must be an absolute path.');
  for (const name of Object.keys(environment)) {
    if (!ENVIRONMENT_NAME.test(name))
      refuse('The name of an environment variable is made of letters, digits and _.');
  }
  const words = [...command, workingDirectory ?? '', ...Object.values(environment)];
  if (words.some((word) => word.includes('\0'))) refuse('A word of a command holds a NUL character.');
}

/**
 * The remote command line. For `mark` see `StatusFilter`: a control character first, so that no output has to wait for fear of it.
 * The environment is on the argument lists of `ssh` here and `sh` there: it is not the place for a secret.
 */
export function remoteCommandLine(command: HostCommand, mark: string): string {
  checkCommand(command);
  const assignments = Object.entries(command.environment ?? {}).map(([name, value]) => `${name}=${value}`);
  const words = [mark, command.workingDirectory ?? '', ...assignments, ...command.command];
  return ['exec', 'sh', '-c', SCRIPT, ...words].map(quoteWord).join(' ');
}

/** The same on this machine, for `sh`. The environment is the child's own and on no argument list. */
export function localWords(command: HostCommand): string[] {
  const script = '[ -z "$1" ] || cd -- "$1" || exit 127; shift; exec env -- "$@"';
  return ['-c', script, 'sh', command.workingDirectory ?? '', ...command.command];
}
