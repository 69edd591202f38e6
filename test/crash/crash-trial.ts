/** One crash and its aftermath, in processes of their own. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect } from 'vitest';
import { readJournal } from '../../src/adapters/store-sqlite/journal.ts';
import { recover } from '../../src/adapters/store-sqlite/recovery.ts';
import { migrate } from '../../src/adapters/store-sqlite/schema.ts';
import { backendName } from '../../src/domain/ids.ts';
import { crashPoints, RESTORE_POINTS, type RunKind } from '../../src/domain/sandbox/runs.ts';
import type { SandboxView } from '../../src/operations/view.ts';
import type { SandboxRecord } from '../../src/ports/store.ts';
import type { ControlPlaneOrder } from './control-plane.ts';

export type CrashOperation = 'create' | 'destroy' | 'extend' | 'recreate' | 'restore';

export interface CrashEnvironment {
  readonly home: string;
  readonly variables: Readonly<Record<string, string>>;
  readonly profile: string;
  /** What is restored. */
  readonly snapshotId?: string;
  /** The process that dies is a server; otherwise it is a command without one. */
  readonly isServer?: boolean;
}

interface Outcome {
  readonly signal: string | null;
  readonly text: string;
}

export function run(environment: CrashEnvironment, order: ControlPlaneOrder): Promise<Outcome> {
  const script = join(import.meta.dirname, 'control-plane.ts');
  const child = spawn(process.execPath, [script, JSON.stringify(order)], {
    env: { PATH: process.env.PATH, SANDBOXER_HOME: environment.home, ...environment.variables },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  let complaints = '';
  child.stdout.on('data', (chunk) => (text += chunk));
  child.stderr.on('data', (chunk) => (complaints += chunk));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code !== null && code !== 0)
        reject(new Error(`the control plane ended with ${code}: ${complaints}`));
      else resolve({ signal, text });
    });
  });
}

const REQUESTS: Readonly<
  Record<CrashOperation, { operation: ControlPlaneOrder['operation']; input: object }>
> = {
  create: { operation: 'create', input: {} },
  destroy: { operation: 'destroy', input: {} },
  extend: { operation: 'extend_ttl', input: { duration: '5m' } },
  recreate: { operation: 'recreate', input: {} },
  restore: { operation: 'restore', input: {} },
};

/** Every point of an operation: around its intent, around each step, and before its answer. */
export function pointsOf(operation: CrashOperation, wantsTelemetry: boolean): readonly string[] {
  const kind: RunKind = operation === 'restore' ? 'create' : operation;
  return [
    `${kind}.begin.before`,
    `${kind}.begin.recorded`,
    ...crashPoints(kind, wantsTelemetry),
    ...(operation === 'restore' ? RESTORE_POINTS : []),
    `${kind}.answer.before`,
  ];
}

export interface CrashReport {
  readonly reached: boolean;
  /** The record right after the crash, or null when nothing was durable. */
  readonly afterCrash: SandboxRecord | null;
  readonly answer: SandboxView;
  readonly repeated: SandboxView;
  readonly records: readonly SandboxRecord[];
}

/** Every record, as the next process will find it. Leaves the home as it is. */
export function readRecords(home: string): SandboxRecord[] {
  const copy = mkdtempSync(join(tmpdir(), 'sbx-records-'));
  for (const name of readdirSync(home).filter((file) => file.startsWith('store.')))
    cpSync(join(home, name), join(copy, name));
  const path = join(copy, 'store.sqlite');
  const database = new DatabaseSync(path);
  try {
    migrate(database, (last) =>
      recover(database, readJournal(join(copy, 'store.journal'), last), () => false),
    );
    return database
      .prepare('SELECT document FROM sandbox ORDER BY ordinal')
      .all()
      .map((row) => JSON.parse(String(row.document)) as SandboxRecord);
  } finally {
    database.close();
    rmSync(copy, { recursive: true });
  }
}

export function nameOf(record: SandboxRecord): string {
  return backendName(record.id, record.epoch);
}

const EXPECTED_STATE: Readonly<Record<CrashOperation, readonly string[]>> = {
  create: ['ready'],
  destroy: ['destroyed'],
  extend: ['ready', 'active'],
  recreate: ['ready'],
  restore: ['ready'],
};

/** The point was reached, the operation ended where it must, and the repeated key gave the same answer. */
export function expectSameAnswer(report: CrashReport, operation: CrashOperation, point: string): void {
  expect(report.reached, `${point} was reached`).toBe(true);
  expect(EXPECTED_STATE[operation]).toContain(report.answer.state);
  expect(report.repeated).toEqual(report.answer);
}

/** The backend-side names that must be there now, and no others. */
export function wantedNames(report: CrashReport): string[] {
  return report.records
    .filter((record) => record.desired === 'present')
    .map(nameOf)
    .sort();
}

/** Sets the stage, dies at `point`, starts again, repeats the request twice with the same key. */
export async function crashTrial(
  environment: CrashEnvironment,
  operation: CrashOperation,
  point: string,
  look: (record: SandboxRecord | null) => void,
): Promise<CrashReport> {
  const order = {
    ...REQUESTS[operation],
    key: randomUUID(),
    crashAt: null,
    resume: false,
    staysUp: environment.isServer ?? false,
  };
  const makesOne = operation === 'create' || operation === 'restore';
  const { profile, snapshotId } = environment;
  let input: Record<string, unknown> = {
    ...order.input,
    ...(operation === 'restore' ? { id: snapshotId } : { profile }),
  };
  if (!makesOne) {
    const create = { ...order, operation: 'create' as const, input: { profile }, key: randomUUID() };
    const made = JSON.parse((await run(environment, create)).text) as SandboxView;
    input = { ...order.input, id: made.sandbox_id };
  }
  const before = makesOne ? countRecords(environment.home) : 0;
  const crashed = await run(environment, { ...order, input, crashAt: point });
  const records = readRecords(environment.home);
  const afterCrash = makesOne
    ? (records[before] ?? null)
    : (records.find(({ id }) => id === input.id) ?? null);
  look(afterCrash);
  const answer = JSON.parse((await run(environment, { ...order, input, resume: true })).text) as SandboxView;
  const repeated = JSON.parse(
    (await run(environment, { ...order, input, resume: true })).text,
  ) as SandboxView;
  return {
    reached: crashed.signal === 'SIGKILL',
    afterCrash,
    answer,
    repeated,
    records: readRecords(environment.home),
  };
}

/** The first trial begins without a store. */
function countRecords(home: string): number {
  return existsSync(join(home, 'store.sqlite')) ? readRecords(home).length : 0;
}
