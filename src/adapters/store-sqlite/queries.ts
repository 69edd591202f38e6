import type { SandboxRecord, Store, StoreReader } from '../../ports/store.ts';
import type { Connection, Row } from './connection.ts';
import {
  eventFromRow,
  hostFromRow,
  listStatement,
  sandboxFromRow,
  snapshotFromRow,
  strayFromRow,
  tokenFromRow,
} from './rows.ts';

/** Runs a read where it sees committed data only, and converts what it throws. */
export type Read = <Result>(work: () => Result | Promise<Result>) => Promise<Result>;

type Queries = Omit<Store, keyof StoreReader | 'transaction' | 'close'>;
type SnapshotQueries = Pick<Queries, 'listSnapshots' | 'findSnapshotBase' | 'listExpiredSnapshots'>;
type WorkQueries = Pick<
  Queries,
  'listRuns' | 'listDue' | 'nextDueAtMs' | 'listLive' | 'countLive' | 'slotsUsed'
>;

function sandboxes(rows: Row[]): readonly SandboxRecord[] {
  return rows.map(sandboxFromRow);
}

function numberIn(row: Row | undefined, column: string): number {
  return Number(row?.[column] ?? 0);
}

const DUE = 'FROM sandbox WHERE due_at_ms IS NOT NULL';

/** What the engine's loops ask: each is one range of a partial index. */
function workQueries(connection: Connection, read: Read): WorkQueries {
  return {
    listRuns: (limit) =>
      read(() =>
        sandboxes(
          connection.all('SELECT document FROM sandbox WHERE has_run = 1 ORDER BY ordinal LIMIT ?', limit),
        ),
      ),
    listDue: (nowMs, limit) =>
      read(() =>
        sandboxes(
          connection.all(
            `SELECT document ${DUE} AND due_at_ms <= ? ORDER BY due_at_ms LIMIT ?`,
            nowMs,
            limit,
          ),
        ),
      ),
    nextDueAtMs: () =>
      read(() => {
        const row = connection.get(`SELECT due_at_ms ${DUE} ORDER BY due_at_ms LIMIT 1`);
        return row === undefined ? null : Number(row.due_at_ms);
      }),
    listLive: (afterId, limit) =>
      read(() =>
        sandboxes(
          connection.all(
            'SELECT document FROM sandbox WHERE is_live = 1 AND has_run = 0 AND id > ? ORDER BY id LIMIT ?',
            afterId,
            limit,
          ),
        ),
      ),
    countLive: () => read(() => numberIn(connection.get('SELECT sum(used) AS total FROM slot'), 'total')),
    slotsUsed: (scope) =>
      read(() => numberIn(connection.get('SELECT used FROM slot WHERE scope = ?', scope), 'used')),
  };
}

function snapshotQueries(connection: Connection, read: Read): SnapshotQueries {
  return {
    listSnapshots: ({ project, nowMs, cursor, limit }) =>
      read(() => {
        const { before, filter } =
          project === null ? { before: [], filter: '' } : { before: [project], filter: 'project = ? AND' };
        const rows = connection.all(
          `SELECT ordinal, document FROM snapshot
             WHERE ${filter} is_withdrawn = 0 AND expires_at_ms > ? AND ordinal < ? ORDER BY ordinal DESC LIMIT ?`,
          ...before,
          nowMs,
          cursor === null ? Number.MAX_SAFE_INTEGER : Number(cursor),
          limit + 1,
        );
        const shown = rows.slice(0, limit);
        const more = rows.length > limit;
        return {
          items: shown.map(snapshotFromRow),
          nextCursor: more ? String(shown.at(-1)?.ordinal) : null,
        };
      }),
    findSnapshotBase: (sandboxId, nowMs) =>
      read(() => {
        const row = connection.get(
          `SELECT document, (
             SELECT json_extract(document, '$.fileBytes') FROM snapshot AS changes
               WHERE changes.based_on = snapshot.id ORDER BY ordinal DESC LIMIT 1
           ) AS changes_bytes FROM snapshot
             WHERE sandbox_id = ? AND based_on IS NULL AND is_withdrawn = 0 AND expires_at_ms > ?
             ORDER BY ordinal DESC LIMIT 1`,
          sandboxId,
          nowMs,
        );
        if (row === undefined) return null;
        const lastChangesBytes = row.changes_bytes === null ? null : Number(row.changes_bytes);
        return { base: snapshotFromRow(row), lastChangesBytes };
      }),
    listExpiredSnapshots: (nowMs, limit) =>
      read(() =>
        connection
          .all(
            `SELECT document FROM snapshot WHERE is_withdrawn = 0 AND expires_at_ms <= ?
               ORDER BY expires_at_ms LIMIT ?`,
            nowMs,
            limit,
          )
          .map(snapshotFromRow),
      ),
  };
}

/** `listed` makes records of the rows of a page. */
export function createQueries(
  connection: Connection,
  read: Read,
  listed: (rows: Row[]) => readonly SandboxRecord[],
): Queries {
  return {
    ...snapshotQueries(connection, read),
    ...workQueries(connection, read),
    listSandboxes: (query) =>
      read(() => {
        const { sql, parameters } = listStatement(query);
        const rows = connection.all(sql, ...parameters);
        const shown = rows.slice(0, query.limit);
        const more = rows.length > query.limit;
        return { items: listed(shown), nextCursor: more ? String(shown.at(-1)?.ordinal) : null };
      }),
    listEvents: (sandboxId, afterSequence, limit) =>
      read(() =>
        connection
          .all(
            'SELECT * FROM event WHERE sandbox_id = ? AND sequence > ? ORDER BY sequence LIMIT ?',
            sandboxId,
            afterSequence,
            limit,
          )
          .map(eventFromRow),
      ),
    getToken: (id) =>
      read(() => {
        const row = connection.get('SELECT * FROM token WHERE id = ?', id);
        return row === undefined ? null : tokenFromRow(row);
      }),
    listTokens: () =>
      read(() => connection.all('SELECT * FROM token ORDER BY created_at_ms').map(tokenFromRow)),
    listStrays: (extensionId) =>
      read(() => connection.all('SELECT * FROM stray WHERE extension_id = ?', extensionId).map(strayFromRow)),
    listHosts: () => read(() => connection.all('SELECT * FROM host ORDER BY name').map(hostFromRow)),
  };
}
