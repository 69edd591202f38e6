/** A reader sees what was committed, never the middle of a transaction. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openSqliteStore } from '../../src/adapters/store-sqlite/store.ts';
import { sampleRecord } from '../standins/sample-record.ts';

it('shows the old record while a transaction that changes it is open, and the new one after it', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'sbx-open-'));
  const store = openSqliteStore(directory);
  const record = sampleRecord();
  await store.transaction((transaction) => transaction.insertSandbox(record));
  let seen: string | null | undefined = 'never read';
  await store.transaction(async (transaction) => {
    await transaction.updateSandbox({ ...record, attention: 'changed' });
    seen = (await store.getSandbox(record.id))?.attention;
  });
  expect(seen).toBeNull();
  expect((await store.getSandbox(record.id))?.attention).toBe('changed');
  await store.close();
  rmSync(directory, { recursive: true });
});
