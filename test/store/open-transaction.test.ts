/** A reader sees what was committed, never the middle of a transaction. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openSqliteStore } from '../../src/adapters/store-sqlite/store.ts';
import { sampleRecord } from '../standins/sample-record.ts';

it('shows nothing of a transaction that is open, and all of it after it', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'sbx-open-'));
  const store = openSqliteStore(directory);
  const record = sampleRecord();
  await store.transaction((transaction) => transaction.insertSandbox(record));
  const reads: Promise<readonly [string | null | undefined, number]>[] = [];
  const read = async () => {
    const [events, changed] = [await store.listEvents(record.id, 0, 10), await store.getSandbox(record.id)];
    return [changed?.attention, events.length] as const;
  };
  await store.transaction(async (transaction) => {
    const next = { ...record, attention: 'changed', eventSequence: 1 };
    await transaction.updateSandbox(next);
    reads.push(read());
    await transaction.appendEvents(next, 1, [{ type: 'attention', state: 'ready', detail: {} }]);
  });
  expect(await Promise.all(reads)).toEqual([['changed', 1]]);
  expect((await store.getSandbox(record.id))?.attention).toBe('changed');
  await store.close();
  rmSync(directory, { recursive: true });
});
