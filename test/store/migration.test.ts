/** A store that an earlier version wrote opens, and what it held is there and goes on working. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, describe, expect, it } from 'vitest';
import { SCHEMA_VERSION } from '../../src/adapters/store-sqlite/schema.ts';
import { openSqliteStore } from '../../src/adapters/store-sqlite/store.ts';

const directory = mkdtempSync(join(tmpdir(), 'sbx-migration-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function writeVersion1(more = ''): string {
  const home = mkdtempSync(join(directory, 'home-'));
  const database = new DatabaseSync(join(home, 'store.sqlite'));
  database.exec(readFileSync(join(import.meta.dirname, 'version-1.sql'), 'utf8') + more);
  database.close();
  return home;
}

describe('a store of version 1', () => {
  it('opens, keeps what it held, and can hold hosts', async () => {
    const home = writeVersion1();
    const store = openSqliteStore(home);
    const { items } = await store.listSandboxes({ project: null, cursor: null, limit: 10 });
    expect(items.map(({ state, slot }) => [state, slot])).toEqual([
      ['destroyed', null],
      ['ready', 'ext.simulated'],
    ]);
    const live = items[1]!;
    expect(live.spec).toMatchObject({ placement: { host: null }, network: { default: 'deny', egress: [] } });
    expect(live.route.candidates).toEqual([
      { extension_id: 'ext.simulated', host: null, chosen: true, rank: 0, reason: 'named by the profile' },
    ]);
    expect(await store.listEvents(live.id, 0, 10)).toHaveLength(3);
    expect(await store.slotsUsed('ext.simulated')).toBe(1);
    expect(await store.getIdempotency('operator/create', 'first')).toMatchObject({ sandboxId: live.id });
    expect(await store.listTokens()).toMatchObject([{ name: 'ci', scopes: ['read'] }]);
    expect(await store.listHosts()).toEqual([]);
    expect(await store.transaction((transaction) => transaction.updateSandbox(live))).toBe(true);
    await store.close();
    const database = new DatabaseSync(join(home, 'store.sqlite'));
    expect(database.prepare('PRAGMA user_version').get()).toEqual({ user_version: SCHEMA_VERSION });
    database.close();
    const again = openSqliteStore(home);
    expect(await again.getSandbox(live.id)).toMatchObject({ version: live.version + 1 });
    await again.close();
  });

  it('keeps a failover that was under way', async () => {
    const run = `json('{"id":"r","kind":"failover","steps":["next_candidate"],"cursor":0,"argument":{"next_extension_id":"ext.local","why":"no"}}')`;
    const home = writeVersion1(
      `UPDATE sandbox SET has_run = 1, document = json_set(document, '$.run', ${run}) WHERE state = 'ready';`,
    );
    const store = openSqliteStore(home);
    expect((await store.listRuns(5))[0]?.run?.argument).toMatchObject({ next_venue: 'ext.local', why: 'no' });
    await store.close();
  });
});
