/** P1, P12, P13: what a store with a journal has answered is there again, whatever ended its process. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { assert, asyncProperty, constantFrom, array as listOf, nat } from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { createSystemClock } from '../../src/adapters/clock/system-clock.ts';
import { openSqliteStore } from '../../src/adapters/store-sqlite/store.ts';
import type { SandboxRecord, Store } from '../../src/ports/store.ts';
import { sampleRecord } from '../standins/sample-record.ts';

const directory = mkdtempSync(join(tmpdir(), 'sbx-journal-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
let made = 0;

function newDirectory(): string {
  const path = join(directory, String(made++));
  mkdirSync(path);
  return path;
}

const journal = { clock: createSystemClock() };
const LARGE_BYTES = 700_000;

function openWithJournal(home: string): Store {
  return openSqliteStore(home, { journal });
}

/** What is on the disk now, as a process that is killed in this moment leaves it. */
function copyOf(home: string, include: (name: string) => boolean = () => true): string {
  const copy = newDirectory();
  for (const name of readdirSync(home).filter(include)) cpSync(join(home, name), join(copy, name));
  return copy;
}

/** Which it is, and in which of the forms that these tests give it. */
function told({ id, attention }: SandboxRecord): string {
  return `${id} ${attention?.length ?? 0}`;
}

function allTold(records: Iterable<SandboxRecord>): Set<string> {
  return new Set(Array.from(records, told));
}

async function recordsIn(
  home: string,
  open: (home: string) => Store = openSqliteStore,
): Promise<Set<string>> {
  const store = open(home);
  const { items } = await store.listSandboxes({ project: null, cursor: null, limit: 1_000 });
  await store.close();
  return allTold(items);
}

function seenWithoutJournal(home: string): number {
  const database = new DatabaseSync(join(home, 'store.sqlite'));
  const row = database.prepare('SELECT count(*) AS total FROM sandbox').get();
  database.close();
  return Number(row?.total);
}

async function insert(store: Store, change: Partial<SandboxRecord> = {}): Promise<SandboxRecord> {
  const record = sampleRecord(change);
  await store.transaction((transaction) => transaction.insertSandbox(record));
  return record;
}

describe('a process that is killed', () => {
  it('has left what it answered in the journal, and the next one finds it, once', async () => {
    const home = newDirectory();
    const store = openWithJournal(home);
    const records = [await insert(store), await insert(store)];
    const copy = copyOf(home);
    expect(seenWithoutJournal(copyOf(copy, (name) => name !== 'store.journal'))).toBe(0);
    const expected = allTold(records);
    for (const open of [openSqliteStore, openSqliteStore, openWithJournal, openSqliteStore])
      expect(await recordsIn(copy, open)).toEqual(expected);
    await store.close();
  });

  it('loses nothing, and keeps nothing that failed, at any moment of any history', async () => {
    const step = constantFrom('insert', 'change', 'fail', 'together', 'large', 'seal');
    await assert(
      asyncProperty(listOf(step, { minLength: 1, maxLength: 25 }), nat(24), async (steps, lookAt) => {
        const home = newDirectory();
        const store = openWithJournal(home);
        const expected = new Map<string, SandboxRecord>();
        for (const [index, kind] of steps.entries()) {
          await perform(store, kind, expected);
          if (index !== lookAt % steps.length) continue;
          expect(await recordsIn(copyOf(home))).toEqual(allTold(expected.values()));
        }
        await store.close();
        expect(seenWithoutJournal(home)).toBe(expected.size);
        expect(await recordsIn(home)).toEqual(allTold(expected.values()));
        rmSync(home, { recursive: true });
      }),
      { numRuns: 25 },
    );
  }, 120_000);
});

/** So many that the database is written in between. */
async function sealing(store: Store): Promise<SandboxRecord[]> {
  const records: SandboxRecord[] = [];
  for (let index = 0; index < 40; index += 1)
    records.push(await insert(store, { attention: 'x'.repeat(4_000) }));
  return records;
}

async function perform(store: Store, kind: string, expected: Map<string, SandboxRecord>): Promise<void> {
  const keep = (record: SandboxRecord) => expected.set(record.id, record);
  const [first] = expected.values();
  if (kind === 'insert') keep(await insert(store));
  if (kind === 'large') keep(await insert(store, { attention: 'x'.repeat(LARGE_BYTES) }));
  if (kind === 'together')
    for (const record of await Promise.all([insert(store), insert(store)])) keep(record);
  if (kind === 'seal') for (const record of await sealing(store)) keep(record);
  if (kind === 'change' && first !== undefined) {
    const next = { ...first, attention: `${first.attention ?? ''}!` };
    await store.transaction((transaction) => transaction.updateSandbox(next));
    keep({ ...next, version: next.version + 1 });
  }
  if (kind !== 'fail') return;
  const failing = store.transaction(async (transaction) => {
    await transaction.insertSandbox(sampleRecord());
    throw new Error('no');
  });
  await expect(failing).rejects.toThrow();
}

describe('a power cut', () => {
  it('that takes back a commit of the database leaves the journal that it was made of', async () => {
    const home = newDirectory();
    const store = openWithJournal(home);
    const expected = new Set<string>();
    const add = async () => expected.add(told(await insert(store)));
    for (let index = 0; index < 10; index += 1) await add();
    const before = copyOf(home, (name) => name !== 'store.journal');
    const mark = (path: string) => {
      const database = new DatabaseSync(join(path, 'store.sqlite'));
      const { last } = database.prepare('SELECT last FROM journal').get() ?? {};
      database.close();
      return Number(last);
    };
    for (const record of await sealing(store)) expected.add(told(record));
    const after = copyOf(home);
    cpSync(join(after, 'store.journal'), join(before, 'store.journal'));
    expect(mark(copyOf(after)), 'the database went on').toBeGreaterThan(mark(copyOf(before)));
    expect(await recordsIn(before)).toEqual(expected);
    expect(await recordsIn(after)).toEqual(expected);
    await store.close();
  });

  it('in the middle of an entry takes that one, which nobody was told of, and no other', async () => {
    const home = newDirectory();
    const store = openWithJournal(home);
    const first = await insert(store);
    const whole = readFileSync(join(home, 'store.journal'));
    await insert(store);
    const copy = copyOf(home);
    await store.close();
    const torn = readFileSync(join(copy, 'store.journal'));
    const from = torn.findIndex((byte, index) => byte !== whole[index]);
    torn.fill(0, from + 500, from + 600);
    writeFileSync(join(copy, 'store.journal'), torn);
    expect(await recordsIn(copy, openWithJournal)).toEqual(allTold([first]));
  });
});

describe('a journal that belongs to another database', () => {
  it('is not read: of one that was deleted, and of one from before', async () => {
    const home = newDirectory();
    const store = openWithJournal(home);
    await insert(store);
    const alone = copyOf(home, (name) => name === 'store.journal');
    const later = copyOf(home);
    await store.close();
    expect(await recordsIn(alone, openWithJournal)).toEqual(new Set());
    const reopened = openWithJournal(later);
    const second = copyOf(later, (name) => name !== 'store.journal');
    await reopened.close();
    cpSync(join(home, 'store.journal'), join(second, 'store.journal'));
    expect((await recordsIn(second)).size).toBe(1);
  });

  it('of a home without one, nothing is made before a server needs it', async () => {
    const home = newDirectory();
    const store = openSqliteStore(home);
    await insert(store);
    await store.close();
    expect(existsSync(join(home, 'store.journal'))).toBe(false);
  });
});
