/** Levenshtein distance, for "did you mean". Both sides are short names; cost is length × length. */
function distance(left: string, right: string): number {
  let previous = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let row = 1; row <= left.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= right.length; column += 1) {
      const substitution = previous[column - 1]! + (left[row - 1] === right[column - 1] ? 0 : 1);
      current.push(Math.min(previous[column]! + 1, current[column - 1]! + 1, substitution));
    }
    previous = current;
  }
  return previous[right.length]!;
}

/** The known name closest to `wanted`, or null when none is close enough to be meant. */
export function nearestName(wanted: string, known: readonly string[]): string | null {
  if (wanted.length > 64) return null;
  const ranked = known
    .map((name) => ({ name, distance: distance(wanted.toLowerCase(), name.toLowerCase()) }))
    .sort((left, right) => left.distance - right.distance);
  const begun = wanted.length >= 3 ? known.find((name) => name.startsWith(wanted)) : undefined;
  if (begun !== undefined) return begun;
  const best = ranked[0];
  return best !== undefined && best.distance <= Math.max(2, wanted.length / 3) ? best.name : null;
}

/** Text from outside made safe for a terminal and a log line: control characters become `?`. */
export function printable(text: string, maximumLength = 300): string {
  const cut = text.length > maximumLength ? `${text.slice(0, maximumLength)}…` : text;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: removing them is the purpose
  return cut.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, '?');
}

/** `a, b and c`, or with `or`. */
export function inWords(items: readonly string[], last: 'and' | 'or' = 'and'): string {
  if (items.length < 2) return items.join('');
  return `${items.slice(0, -1).join(', ')} ${last} ${items.at(-1)}`;
}

/** Text of a backend as a sentence of ours: a capital first, a full stop last. */
export function asSentence(text: string): string {
  const trimmed = text.trim();
  const ended = /[.!?…]$/.test(trimmed) ? trimmed : `${trimmed}.`;
  return ended.charAt(0).toUpperCase() + ended.slice(1);
}
