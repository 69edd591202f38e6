/** Small pieces of text that several renderers share. */
import { createSystemClock } from '../../../adapters/clock/system-clock.ts';
import { printable } from '../../../domain/text.ts';

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
const VALUE_CHARACTERS = 2_000;

export function nowMs(): number {
  return createSystemClock().nowMs();
}

/** Two units at most, for reading: `2h 5m`, `48s`. */
export function shortTime(durationMs: number): string {
  const total = Math.max(0, durationMs);
  const parts = [
    [Math.floor(total / DAY_MS), 'd'],
    [Math.floor((total % DAY_MS) / HOUR_MS), 'h'],
    [Math.floor((total % HOUR_MS) / MINUTE_MS), 'm'],
    [Math.floor((total % MINUTE_MS) / SECOND_MS), 's'],
  ] as const;
  const first = parts.findIndex(([amount]) => amount > 0);
  if (first === -1) return '0s';
  const shown = parts.slice(first, first + 2).filter(([amount]) => amount > 0);
  return shown.map(([amount, unit]) => `${amount}${unit}`).join(' ');
}

/** Data from anywhere, safe to show. */
export function shown(value: unknown): string {
  if (value === null || value === undefined) return '-';
  return printable(typeof value === 'string' ? value : JSON.stringify(value), VALUE_CHARACTERS);
}

/** Nested data in one line: `{level: process, egress: []}`. */
export function flow(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return shown(value);
  const fields = Object.entries(value).map(([name, field]) => `${shown(name)}: ${flow(field)}`);
  return `{${fields.join(', ')}}`;
}

export function cut(text: string, width: number): string {
  const characters = [...text];
  if (characters.length <= width) return text;
  return width <= 1 ? '…' : `${characters.slice(0, width - 1).join('')}…`;
}

export function usd(amount: number): string {
  return `${amount.toFixed(amount !== 0 && Math.abs(amount) < 0.01 ? 6 : 2)} USD`;
}
