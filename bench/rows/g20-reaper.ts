/** G20 and G22: many live records: how late the reaper is, and how much memory they cost. */
import { setTimeout as sleep } from 'node:timers/promises';
import { openStore, populate } from '../kit/population.ts';
import { residentBytes } from '../kit/process-facts.ts';
import { atMost, type Bench, type Row, told } from '../kit/row.ts';
import { newHome, startServer } from '../kit/server-process.ts';
import { summarize } from '../kit/stats.ts';

const LIVE = 100_000;
const PER_SECOND = 300;
/** From the end of the filling to the first deadline: the server starts and has its first look around. */
const LEAD_MS = 20_000;
const AFTER_MS = 5_000;
const MB = 1e6;
const SAMPLES = 20;
const SAMPLE_MS = 500;

interface Lateness {
  readonly valuesMs: readonly number[];
  readonly missed: number;
}

function readLateness(home: string, firstDueAtMs: number, lastDueAtMs: number): Lateness {
  const database = openStore(home);
  const rows = database
    .prepare(
      `SELECT json_extract(s.document, '$.expiresAtMs') AS due, e.at_ms AS at FROM sandbox s
       LEFT JOIN event e ON e.sandbox_id = s.id AND e.type = 'time_ran_out'
       WHERE json_extract(s.document, '$.expiresAtMs') BETWEEN ? AND ?`,
    )
    .all(firstDueAtMs, lastDueAtMs);
  database.close();
  const told = rows.filter(({ at }) => at !== null);
  return {
    valuesMs: told.map(({ due, at }) => Number(at) - Number(due)),
    missed: rows.length - told.length,
  };
}

export const g20: Row = {
  id: 'G20',
  title: 'how late the reaper is, with many live records',
  async run(bench: Bench) {
    const live = bench.number('SANDBOXER_BENCH_LIVE', LIVE, LIVE);
    const seconds = bench.isQuick ? 5 : 30;
    const home = newHome(bench, 'reaper');
    const firing = PER_SECOND * seconds;
    // the filling takes a while; deadlines are set when it is known to be over
    await populate(bench, home, { count: live });
    const firstDueAtMs = Date.now() + LEAD_MS;
    const lastDueAtMs = firstDueAtMs + seconds * 1_000;
    setDeadlines(home, firing, firstDueAtMs);
    const server = await startServer(bench, { home, isStub: true });
    await sleep(lastDueAtMs + AFTER_MS - Date.now());
    await server.stop();
    const { valuesMs, missed } = readLateness(home, firstDueAtMs, lastDueAtMs);
    const values = [...valuesMs, ...Array.from({ length: missed }, () => null)];
    const { p50, p99 } = summarize(valuesMs);
    const series = { name: `${live} live, ${PER_SECOND} over a second`, values, firstFailure: null };
    const goals: [number, number] = live > LIVE ? [50, 50] : [20, 20];
    return {
      series: [series],
      seriesUnit: 'ms late',
      selfDifference: null,
      floors: [],
      judgements: [atMost('late, p99', p99, 'ms', goals), told('late, p50', p50, 'ms')],
      notes: [
        'late is from the deadline to the instant written with the durable end; times are whole milliseconds',
        'records are written straight into the store, in the form the server itself writes; the backend answers at once',
      ],
    };
  },
};

function setDeadlines(home: string, count: number, firstDueAtMs: number): void {
  const database = openStore(home);
  const rows = database.prepare('SELECT ordinal FROM sandbox ORDER BY ordinal LIMIT ?').all(count);
  const update = database.prepare(
    `UPDATE sandbox SET due_at_ms = ?, document = json_set(document, '$.dueAtMs', ?, '$.expiresAtMs', ?) WHERE ordinal = ?`,
  );
  database.exec('BEGIN');
  for (const [index, row] of rows.entries()) {
    const dueAtMs = firstDueAtMs + Math.floor((index * 1_000) / PER_SECOND);
    update.run(dueAtMs, dueAtMs, dueAtMs, Number(row.ordinal));
  }
  database.exec('COMMIT');
  database.close();
}

/** The median over some seconds, in which the loops go round. */
async function settledResidentBytes(pid: number): Promise<number> {
  const values: number[] = [];
  for (let sample = 0; sample < SAMPLES; sample += 1) {
    await sleep(SAMPLE_MS);
    values.push(residentBytes(pid));
  }
  return summarize(values).p50;
}

export const g22: Row = {
  id: 'G22',
  title: 'memory of the control plane for many live records',
  async run(bench: Bench) {
    const live = bench.number('SANDBOXER_BENCH_LIVE', LIVE, LIVE);
    const empty = await startServer(bench, { home: newHome(bench, 'empty'), isStub: true });
    const emptyBytes = await settledResidentBytes(empty.pid);
    await empty.stop();
    const home = newHome(bench, 'memory');
    await populate(bench, home, { count: live });
    const server = await startServer(bench, { home, isStub: true });
    const fullBytes = await settledResidentBytes(server.pid);
    await server.stop();
    const perLiveMb = ((fullBytes - emptyBytes) / MB) * (LIVE / live);
    return {
      series: [],
      seriesUnit: '',
      selfDifference: null,
      floors: [],
      judgements: [
        atMost('more resident memory per 100,000 live', perLiveMb, 'MB', [60, 30]),
        told('resident memory without any', emptyBytes / MB, 'MB'),
        told(`resident memory with ${live} live`, fullBytes / MB, 'MB'),
      ],
      notes: ['median over 10 s while the loops look at every record'],
    };
  },
};
