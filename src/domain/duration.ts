import { SandboxerError } from './errors.ts';
import { LIMITS } from './limits.ts';

const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Milliseconds of a duration such as `90s`, `2h`. Throws `invalid_duration`; never rounds. */
export function parseDurationMs(text: string): number {
  const match = /^([1-9][0-9]{0,9})([smhd])$/.exec(text);
  if (match === null) {
    throw new SandboxerError('invalid_duration', `"${text.slice(0, 40)}" is not a duration.`, {
      nextStep: 'Write a positive whole number and a unit: 90s, 15m, 2h or 1d.',
    });
  }
  const durationMs = Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS];
  if (durationMs > LIMITS.ttlMaxMs) {
    throw new SandboxerError('invalid_duration', `"${text}" is longer than a year (365d).`, {
      nextStep: 'Ask for 365d or less.',
    });
  }
  return durationMs;
}

/** The shortest exact spelling of a duration: 5400000 → `90m`. Milliseconds below a second round up. */
export function formatDuration(durationMs: number): string {
  const seconds = Math.max(1, Math.ceil(durationMs / 1_000));
  for (const unit of ['d', 'h', 'm'] as const) {
    const unitSeconds = UNIT_MS[unit] / 1_000;
    if (seconds % unitSeconds === 0) return `${seconds / unitSeconds}${unit}`;
  }
  return `${seconds}s`;
}
