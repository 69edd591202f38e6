import { SandboxerError } from '../../domain/errors.ts';
import type { SandboxRecord, StoreReader, StoreTransaction } from '../../ports/store.ts';
import { type Connection, isConstraint } from './connection.ts';
import type { RecordCache } from './record-cache.ts';
import {
  hostFromRow,
  idempotencyFromRow,
  sandboxColumns,
  sandboxFromRow,
  snapshotFromRow,
  stateColumns,
} from './rows.ts';

type Writable = Pick<Connection, 'get' | 'run'>;

/** `cached` answers a record without asking the database, where it is known. */
export function createReader(
  connection: Pick<Connection, 'get'>,
  cached: (id: string) => SandboxRecord | undefined,
): StoreReader {
  return {
    async getSandbox(id) {
      const known = cached(id);
      if (known !== undefined) return known;
      const row = connection.get('SELECT document FROM sandbox WHERE id = ?', id);
      return row === undefined ? null : sandboxFromRow(row);
    },
    async getIdempotency(scope, key) {
      const row = connection.get('SELECT * FROM idempotency WHERE scope = ? AND key = ?', scope, key);
      return row === undefined ? null : idempotencyFromRow(row);
    },
    async getHost(name) {
      const row = connection.get('SELECT * FROM host WHERE name = ?', name);
      return row === undefined ? null : hostFromRow(row);
    },
    async hostSlotsUsed(name) {
      const row = connection.get(
        `SELECT sum(used) AS total FROM slot WHERE instr(scope, '@') > 0 AND substr(scope, instr(scope, '@') + 1) = ?`,
        name,
      );
      return Number(row?.total ?? 0);
    },
    async hostRuns(name) {
      const row = connection.get(
        `SELECT count(*) AS total FROM sandbox
           WHERE has_run = 1 AND json_extract(document, '$.spec.placement.host') = ?`,
        name,
      );
      return Number(row?.total ?? 0);
    },
    async getSnapshot(id) {
      const row = connection.get('SELECT document FROM snapshot WHERE id = ? AND is_withdrawn = 0', id);
      return row === undefined ? null : snapshotFromRow(row);
    },
    async getSnapshotFile(id) {
      const row = connection.get('SELECT document FROM snapshot WHERE id = ?', id);
      return row === undefined ? null : snapshotFromRow(row);
    },
  };
}

type SandboxWrites = Pick<
  StoreTransaction,
  'insertSandbox' | 'updateSandbox' | 'appendEvents' | 'takeSlot' | 'releaseSlot'
>;

function sandboxWrites(connection: Writable, cache: RecordCache): SandboxWrites {
  return {
    async insertSandbox(record) {
      try {
        connection.run(
          `INSERT INTO sandbox (project, actor, run_id, profile_id, version, state, has_run, is_live, due_at_ms,
             document, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
          ...sandboxColumns(record),
          record.id,
        );
      } catch (error) {
        if (!isConstraint(error)) throw error;
        throw new SandboxerError('state_conflict', `The id ${record.id} is taken.`, { cause: error });
      }
      cache.write(record);
      for (const [key, value] of Object.entries(record.labels)) {
        connection.run('INSERT INTO sandbox_label VALUES (?, ?, ?)', record.id, key, value);
      }
    },
    async updateSandbox(record) {
      const next = { ...record, version: record.version + 1 };
      const changed = connection.run(
        `UPDATE sandbox SET version = ?, state = ?, has_run = ?, is_live = ?, due_at_ms = ?, document = ?
           WHERE id = ? AND version = ?`,
        ...stateColumns(next),
        record.id,
        record.version,
      );
      if (changed === 1) cache.write(next);
      return changed === 1;
    },
    async appendEvents(record, atMs, events) {
      if (events.length === 0) return;
      const row = '(?, ?, ?, ?, ?, ?)';
      connection.run(
        `INSERT INTO event (sandbox_id, sequence, at_ms, type, state, detail)
           VALUES ${Array.from(events, () => row).join(', ')}`,
        ...events.flatMap((event, index) => [
          record.id,
          record.eventSequence - events.length + index + 1,
          atMs,
          event.type,
          event.state,
          JSON.stringify(event.detail),
        ]),
      );
    },
    async takeSlot(scope, limit) {
      if (limit < 1) return false;
      const taken = connection.run(
        `INSERT INTO slot VALUES (?, 1) ON CONFLICT (scope) DO UPDATE SET used = used + 1 WHERE used < ?`,
        scope,
        limit,
      );
      return taken === 1;
    },
    async releaseSlot(scope) {
      connection.run('UPDATE slot SET used = used - 1 WHERE scope = ?', scope);
    },
  };
}

function snapshotWrites(connection: Writable): Pick<StoreTransaction, 'insertSnapshot' | 'deleteSnapshot'> {
  return {
    async insertSnapshot(snapshot) {
      const { sandbox_id: sandboxId, based_on: basedOn = null } = snapshot.manifest;
      const inserted = connection.run(
        `INSERT INTO snapshot (id, project, expires_at_ms, document, sandbox_id, based_on)
           SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE ?6 IS NULL OR EXISTS (SELECT 1 FROM snapshot WHERE id = ?6 AND based_on IS NULL)`,
        snapshot.id,
        snapshot.project,
        snapshot.expiresAtMs,
        JSON.stringify(snapshot),
        sandboxId,
        basedOn,
      );
      return inserted === 1;
    },
    async deleteSnapshot(id) {
      const row = connection.get('SELECT based_on FROM snapshot WHERE id = ?', id);
      if (row === undefined) return [];
      if (connection.get('SELECT 1 FROM snapshot WHERE based_on = ? LIMIT 1', id) !== undefined) {
        connection.run('UPDATE snapshot SET is_withdrawn = 1 WHERE id = ?', id);
        return [];
      }
      connection.run('DELETE FROM snapshot WHERE id = ?', id);
      if (row.based_on === null) return [id];
      const basedOn = String(row.based_on);
      const freed = connection.run(
        `DELETE FROM snapshot WHERE id = ?1 AND is_withdrawn = 1
           AND NOT EXISTS (SELECT 1 FROM snapshot WHERE based_on = ?1)`,
        basedOn,
      );
      return freed === 1 ? [id, basedOn] : [id];
    },
  };
}

function placeWrites(connection: Writable): Pick<StoreTransaction, 'putHost' | 'deleteHost'> {
  return {
    async putHost({ host, origin }) {
      connection.run(
        `INSERT INTO host VALUES (?, ?, ?)
           ON CONFLICT (name) DO UPDATE SET origin = excluded.origin, document = excluded.document`,
        host.name,
        origin,
        JSON.stringify(host),
      );
    },
    async deleteHost(name) {
      return connection.run('DELETE FROM host WHERE name = ?', name) === 1;
    },
  };
}

export function createTransaction(connection: Writable, cache: RecordCache): StoreTransaction {
  return {
    ...createReader(connection, (id) => cache.current(id)),
    ...sandboxWrites(connection, cache),
    ...placeWrites(connection),
    ...snapshotWrites(connection),
    async insertIdempotency(record) {
      const inserted = connection.run(
        'INSERT INTO idempotency VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
        record.scope,
        record.key,
        record.requestHash,
        record.sandboxId,
        record.runId,
        record.response,
        record.createdAtMs,
      );
      return inserted === 1;
    },
    async setIdempotencyResponse(scope, key, response) {
      connection.run(
        'UPDATE idempotency SET response = ? WHERE scope = ? AND key = ? AND response IS NULL',
        response,
        scope,
        key,
      );
    },
    async deleteIdempotencyBefore(atMs) {
      return connection.run('DELETE FROM idempotency WHERE created_at_ms < ?', atMs);
    },
    async putToken(token) {
      connection.run(
        `INSERT INTO token VALUES (?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT (id) DO UPDATE SET revoked_at_ms = excluded.revoked_at_ms`,
        token.id,
        token.hash,
        token.name,
        token.project,
        JSON.stringify(token.scopes),
        token.createdAtMs,
        token.revokedAtMs,
      );
    },
    async putStray(stray) {
      connection.run(
        'INSERT INTO stray VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
        stray.extensionId,
        stray.name,
        stray.firstSeenAtMs,
      );
    },
    async deleteStray(extensionId, name) {
      connection.run('DELETE FROM stray WHERE extension_id = ? AND name = ?', extensionId, name);
    },
  };
}
