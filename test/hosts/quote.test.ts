/** Whatever a word holds, the shell sees exactly that word. */
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { quoteWord, remoteCommandLine } from '../../src/adapters/host-links/quote.ts';

const BATCH = 2_000;
/** Characters that shells care about, and others. */
const PIECES = [
  ...'\'"\\`$!*?[]{}()<>|&;#~=%^@+,-./: \t\n\r',
  ...'abcXYZ019_',
  ...['\x01', '\x07', '\x1b', '\x1e', '\x7f', 'é', 'ß', '漢', '🧨', '\u2028', '\ufeff'],
  // biome-ignore lint/suspicious/noTemplateCurlyInString: shell, not a template
  ...["'\\''", '$(id)', '${HOME}', '`id`', '\\\n', '--', '-n', '%s', '\\0', '!!'],
];

function randomWord(): string {
  const length = randomInt(12);
  return Array.from({ length }, () => PIECES[randomInt(PIECES.length)]).join('');
}

function seenBy(shell: readonly string[], words: readonly string[]): string[] {
  const script = `printf '%s\\0' ${words.map(quoteWord).join(' ')}`;
  const output = execFileSync(shell[0]!, shell.slice(1), { input: script, maxBuffer: 64 * 1024 * 1024 });
  return output.toString('utf8').split('\0').slice(0, -1);
}

describe('a quoted word', () => {
  it('is the word, for 100,000 of them', () => {
    for (let done = 0; done < 100_000; done += BATCH) {
      const words = Array.from({ length: BATCH }, randomWord);
      expect(seenBy(['sh'], words)).toEqual(words);
    }
  });

  it('is the word for bash too, in every mode', () => {
    const words = Array.from({ length: BATCH }, randomWord);
    expect(seenBy(['bash', '--norc'], words)).toEqual(words);
    expect(seenBy(['bash', '--norc', '--posix'], words)).toEqual(words);
    expect(seenBy(['bash', '--norc', '-O', 'extglob', '-H'], words)).toEqual(words);
  });

  it('holds no backslash and no quote inside quotes, as fish wants it', () => {
    expect(quoteWord("a\\b'c")).toBe("'a'\\\\'b'\\''c'");
  });

  it('is refused with a NUL', () => {
    expect(() => quoteWord('a\0b')).toThrowError(expect.objectContaining({ kind: 'invalid' }));
  });

  it('makes a command line that one more shell turns into the same words', () => {
    const words = Array.from({ length: 200 }, randomWord);
    const line = remoteCommandLine(
      { command: ['printf', '%s\\0', ...words], environment: { A: "b'c" }, workingDirectory: '/' },
      'mark',
    );
    const output = execFileSync('sh', ['-c', line], { stdio: ['ignore', 'pipe', 'ignore'] });
    expect(output.toString('utf8').split('\0').slice(0, -1)).toEqual(words);
  });
});
