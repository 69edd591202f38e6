/** Rounds in which every contender has its turn once, in random order. */
import { median, medianRatio, shuffled } from './stats.ts';

export interface Contender {
  readonly name: string;
  /** One turn; answers the measured value (milliseconds, or a rate). A rejection counts as a failure. */
  run(): Promise<number>;
  /** Run a second time under another name: how far the two are apart is what the run's noise is worth. */
  readonly isReference?: boolean;
}

export interface Series {
  readonly name: string;
  /** One entry a round; null where the turn failed. */
  readonly values: readonly (number | null)[];
  readonly firstFailure: string | null;
}

export interface Rounds {
  readonly series: readonly Series[];
  /** How far the reference is from itself: 0.04 is 4 %; null without a reference. */
  readonly selfDifference: number | null;
}

export const AGAIN = ' (again)';

interface Collected {
  readonly contender: Contender;
  readonly name: string;
  readonly values: (number | null)[];
  firstFailure: string | null;
}

async function turn(entry: Collected): Promise<void> {
  try {
    entry.values.push(await entry.contender.run());
  } catch (error) {
    entry.values.push(null);
    entry.firstFailure ??= error instanceof Error ? error.message : String(error);
  }
}

export async function runRounds(
  contenders: readonly Contender[],
  options: { readonly rounds: number; readonly warmUp: number },
): Promise<Rounds> {
  const entries: Collected[] = contenders.flatMap((contender) => {
    const names = contender.isReference ? [contender.name, contender.name + AGAIN] : [contender.name];
    return names.map((name) => ({ contender, name, values: [], firstFailure: null }));
  });
  for (let round = 0; round < options.warmUp; round += 1) {
    for (const { contender } of entries) await contender.run().catch(() => undefined); // told by the rounds that count
  }
  for (let round = 0; round < options.rounds; round += 1) {
    for (const entry of shuffled(entries)) await turn(entry);
  }
  const reference = contenders.find(({ isReference }) => isReference)?.name;
  return {
    series: entries.map(({ name, values, firstFailure }) => ({ name, values, firstFailure })),
    selfDifference: reference === undefined ? null : selfDifference(entries, reference),
  };
}

function succeeded(entries: readonly Collected[], name: string): number[] {
  const values = entries.find((entry) => entry.name === name)?.values ?? [];
  return values.filter((value) => value !== null);
}

function selfDifference(entries: readonly Collected[], name: string): number {
  const first = median(succeeded(entries, name));
  const second = median(succeeded(entries, name + AGAIN));
  return Math.abs(first - second) / Math.min(first, second);
}

/** The median over the rounds of `left / right`, by name. */
export function ratioBetween(rounds: Rounds, left: string, right: string): number {
  const of = (name: string) => rounds.series.find((series) => series.name === name)?.values ?? [];
  return medianRatio(of(left), of(right));
}
