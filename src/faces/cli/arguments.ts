/** What is done to the words of the command line before commander reads them. */
import { ALL_COMMANDS } from './program.ts';

const EXEC = 'exec';

/** Flags of exec that take the next word, e.g. `--env`. */
function flagsWithValue(): ReadonlySet<string> {
  const spec = ALL_COMMANDS.find(({ words }) => words.length === 1 && words[0] === EXEC);
  const taking = (spec?.flags ?? []).filter(({ flag }) => flag.includes('<'));
  return new Set(taking.map(({ flag }) => flag.split(' ')[0]!));
}

/**
 * Puts `--` before the command of `exec <id> [flags] command…`, so that the command's own flags stay its own.
 * Everything after the first word that is neither the id nor a flag belongs to the command.
 */
export function separateCommand(words: readonly string[]): readonly string[] {
  const start = words.findIndex((word) => !word.startsWith('-'));
  if (words[start] !== EXEC) return words;
  const taking = flagsWithValue();
  let haveId = false;
  for (let index = start + 1; index < words.length; index += 1) {
    const word = words[index]!;
    if (word === '--') return words;
    if (word.startsWith('-')) {
      if (taking.has(word)) index += 1;
    } else if (haveId) return [...words.slice(0, index), '--', ...words.slice(index)];
    else haveId = true;
  }
  return words;
}
