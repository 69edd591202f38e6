import { asSandboxerError, ERROR_REGISTRY, problemOf, SandboxerError } from '../../domain/errors.ts';
import { printable } from '../../domain/text.ts';
import { isReaderGone, type Terminal } from './terminal.ts';

/** What a shell reports for a program that SIGPIPE ended. */
const EXIT_READER_GONE = 141;
const SENTENCE_CHARACTERS = 4_000;

function causeText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : `\ncaused by: ${causeText(error.cause)}`;
  return `${error.stack ?? error.message}${cause}`;
}

/** Tells what went wrong and answers the exit code. Sentences for people; with `--json` the problem document. */
export function reportFailure(thrown: unknown, terminal: Terminal): number {
  if (isReaderGone(thrown)) return EXIT_READER_GONE;
  const error = asSandboxerError(thrown);
  const { paintError } = terminal;
  if (terminal.flags.json) {
    terminal.complain(JSON.stringify(problemOf(error), null, 2));
  } else {
    const lines = error.message.split('\n').map((text) => printable(text, SENTENCE_CHARACTERS));
    terminal.complain(`${paintError('red', '✗')} ${lines.join('\n  ')}`);
    const line = (label: string, text: string | undefined) => {
      if (text === undefined) return;
      terminal.complain(`  ${paintError('dim', `${label}:`)} ${printable(text, SENTENCE_CHARACTERS)}`);
    };
    line('cleaned up', error.cleanedUp);
    line('next', nextStepOf(error));
  }
  if (process.env.SANDBOXER_DEBUG === '1') terminal.complain(causeText(thrown));
  return ERROR_REGISTRY[error.code].exitCode;
}

function nextStepOf(error: SandboxerError): string | undefined {
  if (error.code !== 'internal') return error.nextStep;
  return 'Run it again with SANDBOXER_DEBUG=1 to see where, and report that.';
}

/** A command line that cannot be understood: exit code 2, and what to type instead. */
export function usageError(message: string, nextStep: string): SandboxerError {
  return new SandboxerError('invalid_request', message, { nextStep });
}
