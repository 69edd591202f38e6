/** The shared suite: every extension, ours or not, passes the same cases. It depends on no test framework. */
import { backendName, SANDBOX_ID_BYTES, sandboxId } from '../domain/ids.ts';
import type { Entropy } from '../ports/entropy.ts';
import { Bench, type CaseRow } from './bench.ts';
import { DECLARED_CASES, MANIFEST_CASE } from './declared.ts';
import { EXEC_CASES } from './exec.ts';
import { EXEC_END_CASES } from './exec-end.ts';
import { FILE_CASES } from './files.ts';
import { type ConformanceCase, type ConformanceHarness, ConformanceViolation } from './harness.ts';
import { LIFE_CASES } from './life.ts';
import { LIST_CASES } from './list.ts';
import { SNAPSHOT_CASES } from './snapshots.ts';
import { DEADLINE_CASES, METER_CASES } from './time-and-money.ts';
import { TROUBLE_CASES } from './trouble.ts';

export {
  type ConformanceCase,
  type ConformanceFaults,
  type ConformanceHarness,
  type ConformanceTimings,
  ConformanceViolation,
} from './harness.ts';

/** The cases for this harness. Each makes its own things, clears up after itself, and may run alone. */
export function conformanceCases(harness: ConformanceHarness): ConformanceCase[] {
  const { optional, faults, manifest } = harness;
  const rows: CaseRow[] = [
    ...DECLARED_CASES,
    ...(manifest === undefined ? [] : [MANIFEST_CASE]),
    ...LIFE_CASES,
    ...LIST_CASES,
    ...TROUBLE_CASES.filter((row) => faults?.[row.needs] !== undefined),
    ...(optional.ownDeadline ? DEADLINE_CASES : []),
    ...(optional.meter ? METER_CASES : []),
    ...(optional.snapshots ? SNAPSHOT_CASES : []),
    ...(optional.sessions ? [...EXEC_CASES, ...EXEC_END_CASES, ...FILE_CASES] : []),
  ];
  return rows.map(({ name, guarantee, check }) => ({ name, guarantee, run: () => runCase(harness, check) }));
}

async function runCase(harness: ConformanceHarness, check: CaseRow['check']): Promise<void> {
  const bench = new Bench(harness, await harness.create());
  try {
    await check(bench);
  } catch (error) {
    if (error instanceof ConformanceViolation) throw error;
    const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    throw new ConformanceViolation(`the extension failed where it had to work: ${message}`, error);
  } finally {
    await bench.clear();
  }
}

/** A name for `ConformanceHarness.newName`. */
export function newConformanceName(entropy: Entropy): string {
  return backendName(sandboxId(entropy.bytes(SANDBOX_ID_BYTES)), 1);
}

/** The two functions that vitest, Jest, Mocha and `node:test` all have. */
export interface TestFramework {
  describe(name: string, body: () => void): void;
  it(name: string, body: () => Promise<void>, timeoutMs?: number): void;
}

const CASE_TIMEOUT_MS = 120_000;

/** Makes one test of every case. */
export function describeConformance(
  framework: TestFramework,
  title: string,
  harness: ConformanceHarness,
  timeoutMs = CASE_TIMEOUT_MS,
): void {
  framework.describe(title, () => {
    for (const one of conformanceCases(harness)) {
      framework.it(`${one.name}: ${one.guarantee}`, () => one.run(), timeoutMs);
    }
  });
}
