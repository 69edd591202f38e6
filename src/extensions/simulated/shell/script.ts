/** A tiny part of the shell's grammar: simple commands, quotes, `$NAME`, `;`, `&&`, `||` and redirection to a file. */

export interface SimpleCommand {
  readonly words: readonly string[];
  /** Where standard output goes: null leaves it, a path writes a file. */
  readonly redirect: { readonly to: 'stderr' } | { readonly to: 'file'; readonly path: string } | null;
  /** Whether it runs, given the exit code of the one before. */
  readonly when: 'always' | 'success' | 'failure';
}

export type Parsed =
  | { readonly kind: 'commands'; readonly commands: readonly SimpleCommand[] }
  | { readonly kind: 'refused'; readonly reason: string };

type Token =
  | { readonly kind: 'word'; readonly text: string }
  | { readonly kind: 'operator'; readonly text: string };

const OPERATORS = ['1>&2', '>&2', '&&', '||', '>', ';', '\n'];
const REFUSED = ['|', '&', '<', '(', ')', '`', '2>'];
const SHELLS = new Set(['sh', '/bin/sh', 'bash', '/bin/bash', '/usr/bin/bash']);
const SCRIPT_CHARACTERS_MAX = 64 * 1024;

export function parseCommand(argv: readonly string[], environment: ReadonlyMap<string, string>): Parsed {
  const first = argv[0] ?? '';
  if (!SHELLS.has(first))
    return { kind: 'commands', commands: [{ words: argv, redirect: null, when: 'always' }] };
  if ((argv[1] !== '-c' && argv[1] !== '-ec') || argv[2] === undefined) {
    return { kind: 'refused', reason: `${first}: only "-c" is simulated` };
  }
  if (argv[2].length > SCRIPT_CHARACTERS_MAX)
    return { kind: 'refused', reason: `${first}: the script is too long` };
  const tokens = tokenize(argv[2], environment);
  return typeof tokens === 'string' ? { kind: 'refused', reason: `${first}: ${tokens}` } : group(tokens);
}

function group(tokens: readonly Token[]): Parsed {
  const commands: SimpleCommand[] = [];
  let words: string[] = [];
  let redirect: SimpleCommand['redirect'] = null;
  let when: SimpleCommand['when'] = 'always';
  const end = (next: SimpleCommand['when']) => {
    if (words.length > 0) commands.push({ words, redirect, when });
    words = [];
    redirect = null;
    when = next;
  };
  for (let index = 0; index < tokens.length; index += 1) {
    const token = tokens[index]!;
    if (token.kind === 'word') words.push(token.text);
    else if (token.text === '&&') end('success');
    else if (token.text === '||') end('failure');
    else if (token.text === '>&2' || token.text === '1>&2') redirect = { to: 'stderr' };
    else if (token.text === '>') {
      const target = tokens[index + 1];
      if (target?.kind !== 'word') return { kind: 'refused', reason: 'sh: a file name is missing after ">"' };
      redirect = { to: 'file', path: target.text };
      index += 1;
    } else end('always');
  }
  end('always');
  return { kind: 'commands', commands };
}

/** The tokens, or the reason why there are none. */
function tokenize(script: string, environment: ReadonlyMap<string, string>): Token[] | string {
  const tokens: Token[] = [];
  let word: string | null = null;
  let position = 0;
  const finish = () => {
    if (word !== null) tokens.push({ kind: 'word', text: word });
    word = null;
  };
  while (position < script.length) {
    const rest = script.slice(position, position + 256);
    const character = rest[0]!;
    const operator = OPERATORS.find((one) => rest.startsWith(one) && (one !== '1>&2' || word === null));
    if (operator !== undefined || character === ' ' || character === '\t') {
      finish();
      if (operator !== undefined) tokens.push({ kind: 'operator', text: operator });
      position += operator?.length ?? 1;
      continue;
    }
    const refused = REFUSED.find((one) => rest.startsWith(one) && (one !== '2>' || word === null));
    if (refused !== undefined) return `"${refused}" is not simulated`;
    const piece = readPiece(script, position, environment);
    if (piece === null) return 'a quote is not closed';
    word = (word ?? '') + piece.text;
    position = piece.end;
  }
  finish();
  return tokens;
}

interface Piece {
  readonly text: string;
  readonly end: number;
}

function readPiece(script: string, start: number, environment: ReadonlyMap<string, string>): Piece | null {
  const character = script[start]!;
  if (character === '\\') return { text: script[start + 1] ?? '', end: start + 2 };
  if (character === '$') return readVariable(script, start, environment);
  if (character === "'") {
    const end = script.indexOf("'", start + 1);
    return end === -1 ? null : { text: script.slice(start + 1, end), end: end + 1 };
  }
  if (character !== '"') return { text: character, end: start + 1 };
  let text = '';
  let position = start + 1;
  while (position < script.length && script[position] !== '"') {
    const inner = script[position]!;
    if (inner === '\\' && /["\\$]/.test(script[position + 1] ?? '')) {
      text += script[position + 1];
      position += 2;
    } else {
      const piece =
        inner === '$' ? readVariable(script, position, environment) : { text: inner, end: position + 1 };
      text += piece.text;
      position = piece.end;
    }
  }
  return position < script.length ? { text, end: position + 1 } : null;
}

function readVariable(script: string, start: number, environment: ReadonlyMap<string, string>): Piece {
  const match = /^\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))/.exec(
    script.slice(start, start + 256),
  );
  if (match === null) return { text: '$', end: start + 1 };
  return { text: environment.get(match[1] ?? match[2]!) ?? '', end: start + match[0].length };
}
