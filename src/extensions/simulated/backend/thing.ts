/** A thing's whole life is written in its row when it is made or told to stop; its state follows from the time. */
import type { WireThing } from '../wire.ts';
import type { Truth } from './truth.ts';

export interface ThingRow {
  readonly sequence: number;
  readonly id: string;
  readonly name: string;
  readonly epoch: number;
  readonly tags: string;
  readonly spec: string;
  readonly price_micro_usd_per_hour: number;
  readonly stop_ms: number;
  readonly made_at_ms: number;
  readonly visible_at_ms: number;
  readonly tags_visible_at_ms: number;
  /** Null: never. */
  readonly ready_at_ms: number | null;
  readonly dies_at_ms: number | null;
  readonly deadline_at_ms: number;
  readonly cap_at_ms: number;
  readonly stop_at_ms: number | null;
  readonly gone_at_ms: number | null;
  readonly used_at_ms: number;
}

export function endsAtMs(row: ThingRow): number {
  return Math.min(row.gone_at_ms ?? Number.POSITIVE_INFINITY, row.deadline_at_ms);
}

export function existsAt(row: ThingRow, nowMs: number): boolean {
  return row.made_at_ms <= nowMs && nowMs < endsAtMs(row);
}

export function stateAt(row: ThingRow, nowMs: number): WireThing['state'] {
  if (row.dies_at_ms !== null && row.dies_at_ms <= nowMs) return 'dead';
  if (row.stop_at_ms !== null && row.stop_at_ms <= nowMs) return 'stopping';
  return row.ready_at_ms === null || row.ready_at_ms > nowMs ? 'starting' : 'running';
}

/** Charged from ready to end or death, whichever is first; per row, so nothing is ever charged twice. */
export function chargedMs(row: ThingRow, nowMs: number): number {
  if (row.ready_at_ms === null) return 0;
  const endMs = Math.min(nowMs, endsAtMs(row), row.dies_at_ms ?? Number.POSITIVE_INFINITY);
  return Math.max(0, endMs - row.ready_at_ms);
}

/** What the thing looked like at `asOfMs`, told at `nowMs`. */
export function describe(truth: Truth, row: ThingRow, asOfMs: number, nowMs: number): WireThing {
  const running = truth.get<{ count: number }>(
    'SELECT count(*) AS count FROM execs WHERE sequence = ? AND busy_until_ms > ?',
    row.sequence,
    nowMs,
  );
  const lastBusy = truth.get<{ until: number | null }>(
    'SELECT max(busy_until_ms) AS until FROM execs WHERE sequence = ?',
    row.sequence,
  );
  const commandsRunning = running?.count ?? 0;
  const state = stateAt(row, asOfMs);
  return {
    id: row.id,
    name: row.name,
    epoch: row.epoch,
    tags: row.tags_visible_at_ms <= nowMs ? JSON.parse(row.tags) : {},
    state,
    detail: state === 'dead' ? 'it ended by itself' : null,
    ageMs: Math.max(0, nowMs - row.made_at_ms),
    commandsRunning,
    idleMs: commandsRunning > 0 ? 0 : Math.max(0, nowMs - Math.max(row.used_at_ms, lastBusy?.until ?? 0)),
  };
}

/** The living things under a name, newest last, whether or not anybody can see them yet. */
export function living(truth: Truth, name: string, epoch: number | null, nowMs: number): ThingRow[] {
  return truth
    .all<ThingRow>('SELECT * FROM things WHERE name = ? ORDER BY sequence', name)
    .filter((row) => (epoch === null || row.epoch === epoch) && existsAt(row, nowMs));
}

/** How long from now until everything made is visible to everyone. */
export function lagMs(truth: Truth, nowMs: number): number {
  const row = truth.get<{ until: number | null }>(
    'SELECT max(visible_at_ms) AS until FROM things WHERE visible_at_ms > ?1 AND made_at_ms <= ?1',
    nowMs,
  );
  return Math.max(0, (row?.until ?? nowMs) - nowMs);
}
