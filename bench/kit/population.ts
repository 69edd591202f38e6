/** Fills a home's store with records like those that the server itself writes, without going through it. */

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { openDatabase } from '../../src/adapters/store-sqlite/connection.ts';
import { sandboxColumns } from '../../src/adapters/store-sqlite/rows.ts';
import { base32, SANDBOX_ID_BYTES, sandboxId } from '../../src/domain/ids.ts';
import type { SandboxRecord } from '../../src/ports/store.ts';
import type { Bench } from './row.ts';
import { createSandbox, STUB } from './sandboxes.ts';
import { startServer } from './server-process.ts';

const BATCH = 10_000;
const FAR_MS = 20 * 3_600_000;

export function openStore(home: string): DatabaseSync {
  return openDatabase(join(home, 'store.sqlite'));
}

/** One record as the server writes it: made by a create, then read back. */
async function template(bench: Bench, home: string): Promise<SandboxRecord> {
  const server = await startServer(bench, { home, isStub: true });
  const id = await createSandbox(server.client, STUB);
  server.client.close();
  await server.stop();
  const database = openStore(home);
  const row = database.prepare('SELECT document FROM sandbox WHERE id = ?').get(id);
  database.close();
  return JSON.parse(String(row?.document)) as SandboxRecord;
}

export interface Population {
  readonly count: number;
  /** When record number `index` is over; null means far away. */
  dueAtMs?(index: number): number | null;
  /** What differs from record to record, for filters. */
  vary?(index: number): Partial<SandboxRecord>;
}

function recordOf(base: SandboxRecord, population: Population, index: number, nowMs: number): SandboxRecord {
  const dueAtMs = population.dueAtMs?.(index) ?? nowMs + FAR_MS;
  return {
    ...base,
    id: sandboxId(randomBytes(SANDBOX_ID_BYTES)),
    expiresAtMs: dueAtMs,
    hardCapAtMs: Math.max(dueAtMs, nowMs + FAR_MS),
    dueAtMs,
    ...population.vary?.(index),
  };
}

/** The store must not be open elsewhere. Slots are counted as if each record had been created. */
export async function populate(bench: Bench, home: string, population: Population): Promise<void> {
  const base = await template(bench, home);
  const database = openStore(home);
  database.exec('PRAGMA synchronous = OFF');
  const insert = database.prepare(
    `INSERT INTO sandbox (project, actor, run_id, profile_id, version, state, has_run, is_live, due_at_ms, document, id)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const nowMs = Date.now();
  for (let first = 0; first < population.count; first += BATCH) {
    database.exec('BEGIN');
    for (let index = first; index < Math.min(first + BATCH, population.count); index += 1) {
      const record = recordOf(base, population, index, nowMs);
      insert.run(...sandboxColumns(record), record.id);
    }
    database.exec('COMMIT');
  }
  const live = database.prepare('SELECT count(*) AS live FROM sandbox WHERE is_live = 1').get();
  database.prepare('UPDATE slot SET used = ?').run(Number(live?.live ?? 0));
  database.exec('PRAGMA wal_checkpoint(TRUNCATE); ANALYZE;');
  database.close();
}

export function uniqueWord(): string {
  return base32(randomBytes(8));
}
