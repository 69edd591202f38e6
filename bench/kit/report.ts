/** What a row says, as a table for people and as JSON for later. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, release } from 'node:os';
import { join } from 'node:path';
import type { Judgement, Row, RowResult } from './row.ts';
import { summarize } from './stats.ts';

const RESULTS = join(import.meta.dirname, '..', 'results');
/** A run whose reference differs from itself by more says nothing. */
const SELF_DIFFERENCE_MAX = 0.1;

export interface Conditions {
  readonly at: string;
  readonly quick: boolean;
  readonly cores: number;
  readonly processor: string;
  readonly kernel: string;
  readonly loadBefore: readonly number[];
  readonly loadAfter: readonly number[];
  readonly versions: Readonly<Record<string, string>>;
}

function firstLineOf(command: string, ...commandArguments: string[]): string {
  try {
    return execFileSync(command, commandArguments, { encoding: 'utf8' }).split('\n')[0] ?? '';
  } catch {
    return 'absent';
  }
}

export function conditions(isQuick: boolean, loadBefore: readonly number[]): Conditions {
  return {
    at: new Date().toISOString(),
    quick: isQuick,
    cores: availableParallelism(),
    processor: cpus()[0]?.model ?? 'unknown',
    kernel: release(),
    loadBefore,
    loadAfter: loadavg(),
    versions: {
      node: process.version,
      sqlite: process.versions.sqlite ?? 'unknown',
      bwrap: firstLineOf('bwrap', '--version'),
      commit: firstLineOf('git', '-C', import.meta.dirname, 'rev-parse', '--short', 'HEAD'),
    },
  };
}

export function isVoid(result: RowResult): boolean {
  return result.selfDifference !== null && !(result.selfDifference <= SELF_DIFFERENCE_MAX);
}

function figure(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 0.1 ? 2 : 3;
  return value.toFixed(digits);
}

function goal(judgement: Judgement, limit: number | null): string {
  if (limit === null) return '';
  const { value, better } = judgement;
  const met = better === 'lower' ? value <= limit : value >= limit;
  return `${better === 'lower' ? '≤' : '≥'} ${figure(limit)} ${met ? '✓' : '✗'}`;
}

function seriesLines({ series, seriesUnit }: RowResult): string[] {
  if (series.length === 0) return [];
  const head = `  ${seriesUnit.padEnd(44)}${['n', 'ok', 'p50', 'p95', 'p99', 'min'].map((word) => word.padStart(9)).join('')}`;
  const lines = series.map(({ name, values, firstFailure }) => {
    const good = values.filter((value) => value !== null);
    const { p50, p95, p99, min } = summarize(good);
    const share = values.length === 0 ? 0 : (100 * good.length) / values.length;
    const cells = [String(values.length), `${figure(share)} %`, ...[p50, p95, p99, min].map(figure)];
    const failure = firstFailure === null ? '' : `  first failure: ${firstFailure.slice(0, 160)}`;
    return `  ${name.padEnd(44)}${cells.map((cell) => cell.padStart(9)).join('')}${failure}`;
  });
  return [head, ...lines];
}

function judgementLines(result: RowResult): string[] {
  return result.judgements.map((judgement) => {
    const { what, value, unit, least, moonshot } = judgement;
    const goals = [goal(judgement, least), goal(judgement, moonshot)];
    const words = least === null && moonshot === null ? '' : `least ${goals[0]}   moonshot ${goals[1]}`;
    return `  → ${what.padEnd(60)} ${`${figure(value)} ${unit}`.padStart(12)}   ${words}`;
  });
}

export function print(row: Row, result: RowResult, seen: Conditions): void {
  const { selfDifference } = result;
  const lines = [
    '',
    `${row.id}  ${row.title}${seen.quick ? '   [quick: few rounds, not quotable]' : ''}${isVoid(result) ? '   VOID: the reference differs from itself' : ''}`,
    ...seriesLines(result),
    ...judgementLines(result),
    ...result.floors.map(
      ({ what, value, unit, distance }) =>
        `  floor: ${what}: ${figure(value)} ${unit}; we need ${figure(distance)} times that`,
    ),
    ...(selfDifference === null ? [] : [`  A/A difference ${figure(100 * selfDifference)} %`]),
    ...result.notes.map((note) => `  note: ${note}`),
    `  load ${seen.loadBefore.map(figure).join(' ')} before, ${seen.loadAfter.map(figure).join(' ')} after; ${seen.cores} cores`,
  ];
  console.log(lines.join('\n'));
}

export function save(row: Row, result: RowResult, seen: Conditions): void {
  mkdirSync(RESULTS, { recursive: true });
  const summaries = result.series.map(({ name, values }) => ({
    name,
    ...summarize(values.filter((value) => value !== null)),
  }));
  const text = JSON.stringify(
    {
      row: row.id,
      title: row.title,
      void: isVoid(result),
      conditions: seen,
      summaries,
      ...result,
    },
    null,
    1,
  );
  writeFileSync(join(RESULTS, `${row.id}.json`), `${text}\n`);
}
