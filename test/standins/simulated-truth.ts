/**
 * Reads what the simulated backend really holds, straight from its file and with its own arithmetic: no line of
 * the extension runs here, so a defect there cannot hide itself.
 */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

export interface TrueThing {
  readonly sequence: number;
  readonly id: string;
  readonly name: string;
  readonly epoch: number;
  readonly tags: Readonly<Record<string, string>>;
  readonly state: 'starting' | 'running' | 'stopping' | 'dead';
  readonly madeAtMs: number;
  readonly deadlineAtMs: number;
  readonly capAtMs: number;
}

/** One charged interval; `endAtMs` is null while it goes on. */
export interface BillLine {
  readonly sequence: number;
  readonly name: string;
  readonly epoch: number;
  readonly startAtMs: number;
  readonly endAtMs: number | null;
  readonly priceMicroUsdPerHour: number;
  readonly microUsd: number;
}

export interface SimulatedTruth {
  /** Everything that exists now, of whatever name, seen by others or not. */
  things(nowMs?: number): TrueThing[];
  exists(name: string, nowMs?: number): boolean;
  /** Everything that was ever charged. */
  bill(nowMs?: number): BillLine[];
  totalMicroUsd(nowMs?: number): number;
  /** How often each fault was injected. */
  injected(): Readonly<Record<string, number>>;
  /** How often each verb was called. */
  calls(): Readonly<Record<string, number>>;
  close(): void;
}

interface ThingRow {
  sequence: number;
  id: string;
  name: string;
  epoch: number;
  tags: string;
  price_micro_usd_per_hour: number;
  made_at_ms: number;
  ready_at_ms: number | null;
  dies_at_ms: number | null;
  deadline_at_ms: number;
  cap_at_ms: number;
  stop_at_ms: number | null;
  gone_at_ms: number | null;
}

/** The backend's clock follows the monotonic one and this one the machine's: they may differ by some milliseconds. */
const CLOCK_SKEW_MS = 25;
const afterAllThatWasAnswered = () => Date.now() + CLOCK_SKEW_MS;

/** Opens the truth of a backend whose file lies in `directory`. The backend must have been opened once before. */
export function readSimulatedTruth(directory: string): SimulatedTruth {
  const database = new DatabaseSync(join(directory, 'truth.sqlite'), { readOnly: true, timeout: 10_000 });
  const rows = () =>
    database.prepare('SELECT * FROM things ORDER BY sequence').all() as unknown as ThingRow[];
  const counts = (sql: string) => {
    const found = database.prepare(sql).all() as unknown as { key: string; count: number }[];
    return Object.fromEntries(found.map((row) => [row.key, row.count]));
  };
  const things = (nowMs = afterAllThatWasAnswered()) =>
    rows()
      .filter((row) => isThere(row, nowMs))
      .map((row) => toThing(row, nowMs));
  const bill = (nowMs = afterAllThatWasAnswered()) => rows().flatMap((row) => toBillLine(row, nowMs));
  return {
    things,
    exists: (name, nowMs) => things(nowMs).some((thing) => thing.name === name),
    bill,
    totalMicroUsd: (nowMs) => bill(nowMs).reduce((sum, line) => sum + line.microUsd, 0),
    injected: () => counts('SELECT kind AS key, sum(count) AS count FROM injections GROUP BY kind'),
    calls: () => counts('SELECT verb AS key, count FROM calls'),
    close: () => database.close(),
  };
}

function isThere(row: ThingRow, nowMs: number): boolean {
  if (nowMs < row.made_at_ms || nowMs >= row.deadline_at_ms) return false;
  return row.gone_at_ms === null || nowMs < row.gone_at_ms;
}

function toThing(row: ThingRow, nowMs: number): TrueThing {
  const dead = row.dies_at_ms !== null && nowMs >= row.dies_at_ms;
  const ready = row.ready_at_ms !== null && nowMs >= row.ready_at_ms;
  return {
    sequence: row.sequence,
    id: row.id,
    name: row.name,
    epoch: row.epoch,
    tags: JSON.parse(row.tags) as Record<string, string>,
    state: dead ? 'dead' : row.stop_at_ms !== null ? 'stopping' : ready ? 'running' : 'starting',
    madeAtMs: row.made_at_ms,
    deadlineAtMs: row.deadline_at_ms,
    capAtMs: row.cap_at_ms,
  };
}

function toBillLine(row: ThingRow, nowMs: number): BillLine[] {
  if (row.ready_at_ms === null || row.ready_at_ms > nowMs) return [];
  const ends = [row.gone_at_ms, row.dies_at_ms, row.deadline_at_ms].filter(
    (end): end is number => end !== null,
  );
  const endAtMs = Math.max(row.ready_at_ms, Math.min(...ends));
  const chargedMs = Math.min(nowMs, endAtMs) - row.ready_at_ms;
  return [
    {
      sequence: row.sequence,
      name: row.name,
      epoch: row.epoch,
      startAtMs: row.ready_at_ms,
      endAtMs: endAtMs <= nowMs ? endAtMs : null,
      priceMicroUsdPerHour: row.price_micro_usd_per_hour,
      microUsd: Math.round((chargedMs * row.price_micro_usd_per_hour) / 3_600_000),
    },
  ];
}
