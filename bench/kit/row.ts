import type { Rounds, Series } from './rounds.ts';

/** One value held against a goal. */
export interface Judgement {
  readonly what: string;
  readonly value: number;
  readonly unit: '×' | 'ms' | 'MiB' | 'MB' | '/s' | '';
  readonly better: 'lower' | 'higher';
  /** Null where the goals say nothing about it. */
  readonly least: number | null;
  readonly moonshot: number | null;
}

export interface Floor {
  readonly what: string;
  readonly value: number;
  readonly unit: Judgement['unit'];
  /** How many times the floor we need. */
  readonly distance: number;
}

export interface RowResult {
  readonly series: readonly Series[];
  readonly seriesUnit: string;
  readonly selfDifference: number | null;
  readonly judgements: readonly Judgement[];
  readonly floors: readonly Floor[];
  /** What a reader must know to read the numbers: opponents that were not there, sizes, conditions. */
  readonly notes: readonly string[];
}

export interface Bench {
  readonly isQuick: boolean;
  /** For turns that take milliseconds. */
  readonly rounds: number;
  /** For turns that take seconds. */
  readonly heavyRounds: number;
  number(name: string, usual: number, quick: number): number;
  /** Run when the row is over, last first, also after a failure. */
  atEnd(undo: () => void | Promise<void>): void;
}

export interface Row {
  readonly id: string;
  readonly title: string;
  run(bench: Bench): Promise<RowResult>;
}

export function atMost(
  what: string,
  value: number,
  unit: Judgement['unit'],
  goals: readonly [least: number | null, moonshot: number | null],
): Judgement {
  return { what, value, unit, better: 'lower', least: goals[0], moonshot: goals[1] };
}

export function atLeast(
  what: string,
  value: number,
  unit: Judgement['unit'],
  goals: readonly [least: number | null, moonshot: number | null],
): Judgement {
  return { what, value, unit, better: 'higher', least: goals[0], moonshot: goals[1] };
}

export function told(what: string, value: number, unit: Judgement['unit']): Judgement {
  return atMost(what, value, unit, [null, null]);
}

export function resultOf(
  rounds: Rounds,
  rest: Partial<Omit<RowResult, 'series' | 'selfDifference'>>,
): RowResult {
  return {
    series: rounds.series,
    seriesUnit: rest.seriesUnit ?? 'ms',
    selfDifference: rounds.selfDifference,
    judgements: rest.judgements ?? [],
    floors: rest.floors ?? [],
    notes: rest.notes ?? [],
  };
}
