/** What every store promises: durable or nothing, one row a change, pages without gaps, slots never oversold. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createSystemClock } from '../../src/adapters/clock/system-clock.ts';
import { openMemoryStore, openSqliteStore } from '../../src/adapters/store-sqlite/store.ts';
import { adHocHost } from '../../src/domain/host/host.ts';
import type { Store } from '../../src/ports/store.ts';
import { createFailingStore } from '../standins/failing-store.ts';
import { sampleRecord, sampleSnapshot } from '../standins/sample-record.ts';

const directory = mkdtempSync(join(tmpdir(), 'sbx-store-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
let opened = 0;

const stores: Record<string, () => Store> = {
  sqlite: () => openSqliteStore(mkdtempSync(join(directory, `${opened++}-`))),
  'sqlite with a journal': () =>
    openSqliteStore(mkdtempSync(join(directory, `${opened++}-`)), {
      journal: { clock: createSystemClock() },
    }),
  memory: () => openMemoryStore(),
};

const everything = { project: null, cursor: null, limit: 10 };

for (const [name, open] of Object.entries(stores)) {
  describe(`the ${name} store`, () => {
    it('keeps what a transaction wrote, and nothing of one that failed', async () => {
      const store = open();
      const kept = sampleRecord();
      const lost = sampleRecord();
      await store.transaction((transaction) => transaction.insertSandbox(kept));
      const failing = store.transaction(async (transaction) => {
        await transaction.insertSandbox(lost);
        throw new Error('no');
      });
      await expect(failing).rejects.toThrow();
      expect(await store.getSandbox(kept.id)).toEqual(kept);
      expect(await store.getSandbox(lost.id)).toBeNull();
      await store.close();
    });

    it('lets one failing unit of a shared commit take no other along', async () => {
      const store = open();
      const records = Array.from({ length: 20 }, () => sampleRecord());
      const results = await Promise.allSettled(
        records.map((record, index) =>
          store.transaction(async (transaction) => {
            await transaction.insertSandbox(record);
            if (index % 3 === 0) throw new Error('no');
          }),
        ),
      );
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(13);
      const stored = await store.listSandboxes({ ...everything, limit: 100 });
      expect(stored.items).toHaveLength(13);
      await store.close();
    });

    it('shows a record as it was last kept, whatever was tried on it since', async () => {
      const store = open();
      const first = sampleRecord();
      const other = sampleRecord();
      await store.transaction(async (transaction) => {
        await transaction.insertSandbox(first);
        await transaction.insertSandbox(other);
      });
      const write = (id: string, attention: string, fails: boolean) =>
        store.transaction(async (transaction) => {
          const current = await transaction.getSandbox(id);
          await transaction.updateSandbox({ ...current!, attention });
          expect(await transaction.getSandbox(id)).toMatchObject({ attention });
          if (fails) throw new Error('no');
        });
      const results = await Promise.allSettled([
        write(other.id, 'kept', false),
        write(first.id, 'lost', true),
        write(first.id, 'kept', false),
        write(first.id, 'lost too', true),
      ]);
      expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected']);
      for (const { id } of [first, other]) {
        const kept = { attention: 'kept', version: 2 };
        expect(await store.getSandbox(id)).toMatchObject(kept);
        expect(await store.transaction((transaction) => transaction.getSandbox(id))).toMatchObject(kept);
      }
      await store.close();
    });

    it('keeps each of very many records, in and out of mind', async () => {
      const store = open();
      const records = Array.from({ length: 1_200 }, () => sampleRecord());
      await Promise.all(
        records.map((record) => store.transaction((transaction) => transaction.insertSandbox(record))),
      );
      for (const record of [records[0]!, records[600]!, records.at(-1)!])
        expect(await store.getSandbox(record.id)).toEqual(record);
      await store.close();
    });

    it('lists a record as it is now, though it was listed before and much was written since', async () => {
      const store = open();
      const first = sampleRecord();
      await store.transaction((transaction) => transaction.insertSandbox(first));
      const listed = async () => (await store.listSandboxes({ ...everything, limit: 2_000 })).items;
      expect(await listed()).toEqual([first]);
      await store.transaction((transaction) => transaction.updateSandbox({ ...first, attention: 'changed' }));
      const others = Array.from({ length: 1_200 }, () => sampleRecord());
      await store.transaction(async (transaction) => {
        for (const other of others) await transaction.insertSandbox(other);
      });
      expect((await listed()).at(-1)).toEqual({ ...first, attention: 'changed', version: 2 });
      await store.close();
    });

    it('refuses a second record of one id', async () => {
      const store = open();
      const record = sampleRecord();
      await store.transaction((transaction) => transaction.insertSandbox(record));
      const again = store.transaction((transaction) => transaction.insertSandbox(record));
      await expect(again).rejects.toMatchObject({ code: 'state_conflict' });
      await store.close();
    });

    it('writes an update only over the version it was made from', async () => {
      const store = open();
      const record = sampleRecord();
      await store.transaction((transaction) => transaction.insertSandbox(record));
      const update = () => store.transaction((transaction) => transaction.updateSandbox(record));
      expect(await update()).toBe(true);
      expect(await update()).toBe(false);
      await store.close();
    });

    it('pages newest first, without gaps or repeats, under every filter', async () => {
      const store = open();
      const records = Array.from({ length: 25 }, (_, index) =>
        sampleRecord({
          consumer: { actor: 'adm', project: index % 2 === 0 ? 'even' : 'odd', run_id: null },
          labels: { n: String(index % 5) },
        }),
      );
      for (const record of records)
        await store.transaction((transaction) => transaction.insertSandbox(record));
      const seen: string[] = [];
      let cursor: string | null = null;
      do {
        const page = await store.listSandboxes({ project: 'even', cursor, limit: 4 });
        seen.push(...page.items.map(({ id }) => id));
        cursor = page.nextCursor;
      } while (cursor !== null);
      const even = records.filter(({ consumer }) => consumer.project === 'even').map(({ id }) => id);
      expect(seen).toEqual(even.reverse());
      const labelled = await store.listSandboxes({ ...everything, label: { key: 'n', value: '3' } });
      expect(labelled.items.map(({ labels }) => labels.n)).toEqual(['3', '3', '3', '3', '3']);
      const both = await store.listSandboxes({ ...everything, states: ['ready', 'active'], actor: 'agt' });
      expect(both.items).toEqual([]);
      await store.close();
    });

    it('never hands out more slots than there are (P4)', async () => {
      const store = open();
      const takes = await Promise.all(
        Array.from({ length: 200 }, () =>
          store.transaction((transaction) => transaction.takeSlot('ext.x', 7)),
        ),
      );
      expect(takes.filter((taken) => taken)).toHaveLength(7);
      await store.transaction((transaction) => transaction.releaseSlot('ext.x'));
      expect(await store.slotsUsed('ext.x')).toBe(6);
      await store.close();
    });

    it('keeps snapshots by project, newest first, until they are deleted, and those whose time is over apart', async () => {
      const store = open();
      for (const [index, project] of ['a', 'b', 'a', 'a'].entries()) {
        const snapshot = sampleSnapshot(index, { project, expiresAtMs: 100 * (index + 1) });
        await store.transaction((transaction) => transaction.insertSnapshot(snapshot));
      }
      const ids = async (project: string | null, nowMs = 0, cursor: string | null = null, limit = 10) => {
        const page = await store.listSnapshots({ project, nowMs, cursor, limit });
        return { ids: page.items.map(({ id }) => Number(id.slice(-1))), next: page.nextCursor };
      };
      expect((await ids(null)).ids).toEqual([3, 2, 1, 0]);
      const first = await ids('a', 0, null, 2);
      expect(first.ids).toEqual([3, 2]);
      expect(await ids('a', 0, first.next, 2)).toEqual({ ids: [0], next: null });
      expect((await ids(null, 200)).ids).toEqual([3, 2]);
      expect((await store.listExpiredSnapshots(200, 10)).map(({ id }) => Number(id.slice(-1)))).toEqual([
        0, 1,
      ]);
      const { id } = sampleSnapshot(2);
      expect(await store.getSnapshot(id)).toMatchObject({ id, project: 'a' });
      expect(await store.transaction((transaction) => transaction.deleteSnapshot(id))).toEqual([id]);
      expect(await store.transaction((transaction) => transaction.deleteSnapshot(id))).toEqual([]);
      expect(await store.getSnapshot(id)).toBeNull();
      await store.close();
    });

    it('keeps what a snapshot builds on, unseen once it was deleted, until the last that builds on it is', async () => {
      const store = open();
      const manifest = sampleSnapshot(0).manifest;
      const insert = (number: number, basedOn: number | null, fileBytes: number, expiresAtMs = 100) =>
        store.transaction((transaction) =>
          transaction.insertSnapshot(
            sampleSnapshot(number, {
              fileBytes,
              expiresAtMs,
              manifest: {
                ...manifest,
                ...(basedOn === null ? {} : { based_on: sampleSnapshot(basedOn).id }),
              },
            }),
          ),
        );
      const remove = (number: number) =>
        store.transaction((transaction) => transaction.deleteSnapshot(sampleSnapshot(number).id));
      const found = async (nowMs = 0) => {
        const answer = await store.findSnapshotBase(manifest.sandbox_id, nowMs);
        return answer && [Number(answer.base.id.slice(-1)), answer.lastChangesBytes];
      };
      const shown = async () =>
        (await store.listSnapshots({ project: null, nowMs: 0, cursor: null, limit: 10 })).items.length;
      expect(await found()).toBe(null);
      expect(await insert(1, null, 1_000)).toBe(true);
      expect(await found()).toEqual([1, null]);
      expect([await insert(2, 1, 20), await insert(3, 1, 30)]).toEqual([true, true]);
      expect(await found()).toEqual([1, 30]);
      expect(await found(100)).toBe(null);
      expect(await store.findSnapshotBase('another', 0)).toBe(null);
      expect(await insert(4, 2, 1)).toBe(false); // nothing builds on what is no whole one
      expect(await insert(4, 9, 1)).toBe(false);
      expect(await remove(1)).toEqual([]);
      const { id } = sampleSnapshot(1);
      expect([await store.getSnapshot(id), await shown(), await found()]).toEqual([null, 2, null]);
      expect(await store.getSnapshotFile(id)).toMatchObject({ id });
      expect((await store.listExpiredSnapshots(100, 10)).map((each) => Number(each.id.slice(-1)))).toEqual([
        2, 3,
      ]);
      expect(await remove(1)).toEqual([]);
      expect(await remove(3)).toEqual([sampleSnapshot(3).id]);
      expect(await store.getSnapshotFile(id)).not.toBe(null);
      expect(await remove(2)).toEqual([sampleSnapshot(2).id, id]);
      expect(await store.getSnapshotFile(id)).toBe(null);
      await store.close();
    });

    it('answers due records earliest first, and those with a run apart', async () => {
      const store = open();
      const due = [300, 100, 200].map((dueAtMs) => sampleRecord({ dueAtMs }));
      const run = {
        id: 'r',
        kind: 'destroy' as const,
        steps: [],
        cursor: 0,
        attempt: 0,
        lastError: null,
        startedAtMs: 0,
        deadlineAtMs: 0,
        argument: {},
      };
      const busy = sampleRecord({ dueAtMs: null, run });
      for (const record of [...due, busy])
        await store.transaction((transaction) => transaction.insertSandbox(record));
      expect((await store.listDue(250, 10)).map(({ dueAtMs }) => dueAtMs)).toEqual([100, 200]);
      expect(await store.nextDueAtMs()).toBe(100);
      expect((await store.listRuns(10)).map(({ id }) => id)).toEqual([busy.id]);
      await store.close();
    });

    it('numbers events from 1 within each sandbox', async () => {
      const store = open();
      const record = sampleRecord({ eventSequence: 2 });
      const events = [
        { type: 'requested' as const, state: 'requested' as const, detail: {} },
        { type: 'provision_started' as const, state: 'provisioning' as const, detail: { a: 1 } },
      ];
      await store.transaction(async (transaction) => {
        await transaction.insertSandbox(record);
        await transaction.appendEvents(record, 5, events);
      });
      const stored = await store.listEvents(record.id, 0, 10);
      expect(stored.map(({ sequence, type }) => [sequence, type])).toEqual([
        [1, 'requested'],
        [2, 'provision_started'],
      ]);
      expect(await store.listEvents(record.id, 1, 10)).toHaveLength(1);
      await store.close();
    });

    it('keeps hosts by name, the last word counting, and counts the slots taken on each', async () => {
      const store = open();
      const host = { ...adHocHost('deploy@box:22')!, name: 'box' };
      await store.transaction(async (transaction) => {
        await transaction.putHost({ host: { ...host, name: 'zebra' }, origin: 'ad_hoc' });
        await transaction.putHost({ host, origin: 'added' });
        await transaction.putHost({ host: { ...host, draining: true }, origin: 'added' });
        for (const scope of ['ext.x@box', 'ext.y@box', 'ext.x@boxer', 'ext.x@d@box', 'box']) {
          await transaction.takeSlot(scope, 5);
        }
      });
      expect((await store.listHosts()).map((row) => row.host.name)).toEqual(['box', 'zebra']);
      expect(await store.getHost('box')).toEqual({ host: { ...host, draining: true }, origin: 'added' });
      expect([await store.hostSlotsUsed('box'), await store.hostSlotsUsed('d@box')]).toEqual([2, 1]);
      const drop = () => store.transaction((transaction) => transaction.deleteHost('box'));
      expect([await drop(), await drop(), await store.getHost('box')]).toEqual([true, false, null]);
      await store.close();
    });

    it('keeps the first answer of an idempotency key', async () => {
      const store = open();
      const row = {
        scope: 's',
        key: 'k',
        requestHash: 'h',
        sandboxId: 'x',
        runId: 'r',
        response: null,
        createdAtMs: 1,
      };
      const insert = () => store.transaction((transaction) => transaction.insertIdempotency(row));
      expect([await insert(), await insert()]).toEqual([true, false]);
      for (const answer of ['1', '2']) {
        await store.transaction((transaction) => transaction.setIdempotencyResponse('s', 'k', answer));
      }
      expect((await store.getIdempotency('s', 'k'))?.response).toBe('1');
      await store.close();
    });
  });
}

describe('the failing store', () => {
  it('fails every call with the registered error, and never answers', async () => {
    const store = createFailingStore();
    const calls = [
      store.transaction(async () => 1),
      store.getSandbox('x'),
      store.listSandboxes(everything),
      store.listDue(0, 1),
      store.nextDueAtMs(),
    ];
    for (const result of await Promise.allSettled(calls)) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'store_unavailable' } });
    }
  });
});
