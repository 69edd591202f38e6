/** What Compose and the engine say, as kinds of the contract. */
import { printable } from '../../domain/text.ts';
import { ExtensionError, type ExtensionErrorKind } from '../../ports/extension.ts';

const WORDS_MAX = 400;

const KINDS: readonly (readonly [pattern: RegExp, kind: ExtensionErrorKind])[] = [
  [/no space left|disk quota exceeded/i, 'capacity'],
  [/pull access denied|manifest (unknown|for)|no such image|registry|failed to resolve/i, 'invalid'],
  [/cannot connect to the docker daemon|is the docker daemon running|connection refused/i, 'transient'],
  [/permission denied.*docker\.sock/i, 'forbidden'],
];

/** The last lines, on one line, bounded. */
export function lastWords(text: string): string {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  return printable(lines.slice(-4).join(' / ').slice(-WORDS_MAX));
}

/** `up` did not end with 0. */
export function upError(stderr: string): ExtensionError {
  const kind = KINDS.find(([pattern]) => pattern.test(stderr))?.[1] ?? 'invalid';
  return new ExtensionError(
    kind,
    `The stack does not come up: ${lastWords(stderr) || 'no reason was given'}.`,
  );
}

/** A script of ours ended with another code than 0. */
export function scriptError(doing: string, host: string, exitCode: number, stderr: string): ExtensionError {
  const said = lastWords(stderr);
  if (exitCode === 70) {
    return new ExtensionError(
      'transient',
      `The engine on host ${host} does not answer: ${said || 'no reason was given'}.`,
    );
  }
  const kind = /no space left|input\/output error/i.test(stderr) ? 'capacity' : 'transient';
  return new ExtensionError(kind, `${doing} on host ${host} failed: ${said || `it ended with ${exitCode}`}.`);
}
