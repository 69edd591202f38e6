/** P12, P13: the journal is overwritten only once the database on the disk has what it held. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, expect, it } from 'vitest';
import { createSystemClock } from '../../src/adapters/clock/system-clock.ts';
import { Connection, openDatabase } from '../../src/adapters/store-sqlite/connection.ts';
import { LogFlusher } from '../../src/adapters/store-sqlite/flush.ts';
import { GroupCommit } from '../../src/adapters/store-sqlite/group-commit.ts';
import { Journal, readJournal } from '../../src/adapters/store-sqlite/journal.ts';
import { beginJournal } from '../../src/adapters/store-sqlite/recovery.ts';
import { migrate } from '../../src/adapters/store-sqlite/schema.ts';
import { sampleRecord } from '../standins/sample-record.ts';

const directory = mkdtempSync(join(tmpdir(), 'sbx-journal-disk-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const START = 1_000;
const RECORD = { attention: 'x'.repeat(20_000) };
/** More than both halves of a journal hold. */
const TOO_MANY = 60;

function heldFlusher() {
  const held = Promise.withResolvers<void>();
  return { held, flusher: { flush: () => held.promise, close: () => undefined } };
}

type Change = Partial<Pick<Journal, 'flusher' | 'append'>>;

function changed(journal: Journal, change: Change): Journal {
  return new Proxy(journal, {
    get(target, name) {
      if (name in change) return Reflect.get(change, name);
      const value = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** A journal that the system does not let be written. */
function refusing(code: string): Change {
  return {
    append() {
      throw Object.assign(new Error(code), { code });
    },
  };
}

/** A store whose database is flushed when the test says so; its journal works. */
function openHeld(name: string, change: Change = {}) {
  const database = new DatabaseSync(':memory:');
  migrate(database);
  const path = join(directory, name);
  const journal = changed(new Journal(path, START, createSystemClock()), change);
  const { held, flusher } = heldFlusher();
  const told: unknown[] = [];
  const commits = new GroupCommit(new Connection(database), {
    journal,
    database: flusher,
    batchSize: 1,
    releaseBallast: () => false,
    onFatal: (cause) => told.push(cause),
  });
  const answered: string[] = [];
  const insert = async () => {
    const record = sampleRecord(RECORD);
    await commits.add((transaction) => transaction.insertSandbox(record));
    answered.push(record.id);
  };
  const inJournal = () => JSON.stringify(readJournal(path, START));
  return { database, commits, journal, held, told, answered, insert, inJournal };
}

it('answers no more than it holds while the database waits for the disk, and all of it after that', async () => {
  const store = openHeld('held');
  const inserts = Array.from({ length: TOO_MANY }, () => store.insert());
  await expect
    .poll(() => store.database.prepare('SELECT count(*) AS total FROM sandbox').get()?.total)
    .toBe(TOO_MANY);
  await store.journal.flusher.flush();
  await new Promise((resolve) => setImmediate(resolve));
  const early = [...store.answered];
  expect(early.length).toBeGreaterThan(5);
  expect(early.length).toBeLessThan(TOO_MANY);
  const kept = store.inJournal();
  for (const id of early) expect(kept).toContain(id);
  store.held.resolve();
  await Promise.all(inserts);
  await store.insert();
  await store.commits.close();
  expect(store.told).toEqual([]);
  store.journal.close();
});

it('answers nobody before the journal is on the disk', async () => {
  const { held, flusher } = heldFlusher();
  const store = openHeld('unflushed', { flusher });
  const insert = store.insert();
  await expect.poll(() => store.inJournal().length).toBeGreaterThan(RECORD.attention.length);
  await new Promise((resolve) => setImmediate(resolve));
  expect(store.answered).toEqual([]);
  held.resolve();
  await insert;
  expect(store.answered).toHaveLength(1);
  store.journal.close();
});

it('is never trusted again where that flush fails', async () => {
  const store = openHeld('broken');
  const first = store.insert();
  await first;
  await store.commits.seal();
  store.held.reject(Object.assign(new Error('input/output error'), { code: 'EIO' }));
  await expect.poll(() => store.told.length).toBe(1);
  await expect(store.insert()).rejects.toMatchObject({ code: 'store_unavailable' });
  await expect(store.commits.durable()).rejects.toMatchObject({ code: 'store_unavailable' });
  store.journal.close();
});

it('is never trusted again where the journal cannot be written', async () => {
  const store = openHeld('unwritten', refusing('EIO'));
  await expect(store.insert()).rejects.toMatchObject({ code: 'store_unavailable' });
  expect(store.told).toHaveLength(1);
  await expect(store.commits.durable()).rejects.toMatchObject({ code: 'store_unavailable' });
  store.journal.close();
});

it('commits each unit by itself where the journal has no room any more', async () => {
  const store = openHeld('no-room', refusing('ENOSPC'));
  await expect(store.insert()).rejects.toMatchObject({ code: 'store_full' });
  store.held.resolve();
  await store.insert();
  expect(store.told).toEqual([]);
  store.journal.close();
});

it('begins only after the number that it begins with is on the disk', () => {
  const home = mkdtempSync(join(directory, 'begin-'));
  const path = join(home, 'store.journal');
  const database = openDatabase(join(home, 'store.sqlite'));
  migrate(database);
  const order: string[] = [];
  class WatchedLog extends LogFlusher {
    override flushHere(): void {
      const { last } = database.prepare('SELECT last FROM journal').get() ?? {};
      order.push(`flushed ${last}, journal ${existsSync(path) ? 'begun' : 'not begun'}`);
      super.flushHere();
    }
  }
  const log = new WatchedLog(join(home, 'store.sqlite-wal'));
  const journal = beginJournal(new Connection(database), path, log, createSystemClock());
  expect(order).toEqual([`flushed ${journal?.last}, journal not begun`]);
  journal?.close();
  log.close();
  database.close();
});
