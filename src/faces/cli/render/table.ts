import { stripVTControlCharacters } from 'node:util';
import type { Style } from '../terminal.ts';
import type { Look } from './look.ts';
import { cut, shown } from './text.ts';

export interface Cell {
  readonly text: string;
  readonly style?: Style;
}

const GAP = 2;
const NARROWEST = 8;

function widthsOf(heads: readonly string[], rows: readonly (readonly Cell[])[], columns: number): number[] {
  const widths = heads.map((head, index) =>
    Math.max(head.length, ...rows.map((row) => [...(row[index]?.text ?? '')].length)),
  );
  const total = () => widths.reduce((sum, width) => sum + width, 0) + GAP * (widths.length - 1);
  while (total() > columns) {
    const widest = widths.indexOf(Math.max(...widths.slice(1)), 1);
    if (widest === -1 || widths[widest]! <= NARROWEST) break;
    widths[widest] = Math.max(NARROWEST, widths[widest]! - (total() - columns));
  }
  return widths;
}

export function cell(value: unknown, style?: Style): Cell {
  return style === undefined ? { text: shown(value) } : { text: shown(value), style };
}

/** Columns as wide as they need to be; where the terminal is narrower the widest is cut, never the first: ids. */
export function table(heads: readonly string[], rows: readonly (readonly Cell[])[], look: Look): string {
  const widths = widthsOf(heads, rows, look.columns);
  const line = (cells: readonly Cell[]) =>
    cells
      .map(({ text, style }, index) => {
        const fitted = cut(text, widths[index]!);
        const space = ' '.repeat(widths[index]! - [...fitted].length);
        return `${style === undefined ? fitted : look.paint(style, fitted)}${space}`;
      })
      .join(' '.repeat(GAP))
      .trimEnd();
  return [heads.map((text): Cell => ({ text, style: 'dim' })), ...rows]
    .map((cells) => `${line(cells)}\n`)
    .join('');
}

/** Breaks text at spaces; a word longer than the line stays whole, so that it can be copied. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && visibleLength(line) + 1 + visibleLength(word) > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

function visibleLength(text: string): number {
  return [...stripVTControlCharacters(text)].length;
}

/** A name and its value, one below the other, aligned; long values go on below themselves. */
export function pairs(entries: readonly (readonly [string, string | null])[], look: Look): string {
  const present = entries.filter((entry): entry is readonly [string, string] => entry[1] !== null);
  const width = Math.max(0, ...present.map(([name]) => name.length));
  const indent = ' '.repeat(width + 2 * GAP);
  return present
    .map(([name, value]) => {
      const lines = wrap(value, Math.max(NARROWEST, look.columns - indent.length));
      return `  ${look.paint('dim', name.padEnd(width))}  ${lines.join(`\n${indent}`)}\n`;
    })
    .join('');
}
