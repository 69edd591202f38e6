import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LIMITS } from '../../domain/limits.ts';
import type { SandboxRecord, Store, StoreReader } from '../../ports/store.ts';
import { Connection, openDatabase, type Row, storeError } from './connection.ts';
import { GroupCommit } from './group-commit.ts';
import { eventFromRow, listStatement, sandboxFromRow, strayFromRow, tokenFromRow } from './rows.ts';
import { migrate } from './schema.ts';
import { createReader } from './transaction.ts';

const GROUP_COMMIT_SIZE = 64;

/** Space held back so that a full disk still lets us record a destroy. */
function ballastFile(directory: string): { ensure(): void; release(): boolean } {
  const path = join(directory, 'ballast');
  return {
    ensure() {
      if (!existsSync(path)) writeFileSync(path, Buffer.alloc(LIMITS.ballastBytes, 1), { mode: 0o600 });
    },
    release() {
      if (!existsSync(path)) return false;
      rmSync(path);
      return true;
    },
  };
}

export interface SqliteStoreOptions {
  /** Called once when a write or fsync failed; the process should stop. */
  readonly onFatal?: (cause: unknown) => void;
}

/**
 * The store in `directory/store.sqlite`. Throws `store_newer` for a file of a later release. The caller holds
 * the home's lock: one process writes.
 */
export function openSqliteStore(directory: string, options: SqliteStoreOptions = {}): Store {
  const path = join(directory, 'store.sqlite');
  try {
    const writer = openDatabase(path);
    migrate(writer);
    const ballast = ballastFile(directory);
    tryToReserve(ballast);
    return build(new Connection(writer), new Connection(openDatabase(path)), ballast, options);
  } catch (error) {
    throw storeError(error);
  }
}

/** The same store on a private in-memory database: nothing outlives it. */
export function openMemoryStore(): Store {
  const database = openDatabase(':memory:');
  migrate(database);
  const connection = new Connection(database);
  return build(connection, null, { release: () => false }, {});
}

function tryToReserve(ballast: ReturnType<typeof ballastFile>): void {
  try {
    ballast.ensure();
  } catch {
    // no room for the reserve: the store still opens, and a full disk is reported by the write that meets it
    ballast.release();
  }
}

function build(
  writer: Connection,
  separateReader: Connection | null,
  ballast: { release(): boolean },
  options: SqliteStoreOptions,
): Store {
  const commits = new GroupCommit(writer, {
    batchSize: GROUP_COMMIT_SIZE,
    releaseBallast: () => ballast.release(),
    onFatal: (cause) => options.onFatal?.(cause),
  });
  const reader = separateReader ?? writer;
  /** Reads see committed data only: on their own connection, or once no transaction is open. */
  const read = async <Result>(work: () => Result | Promise<Result>): Promise<Result> => {
    if (separateReader === null) await commits.idle();
    try {
      return await work();
    } catch (error) {
      throw storeError(error);
    }
  };
  const single = createReader(reader);
  return {
    transaction: (work) => commits.add(work),
    ...(separateReader === null ? guarded(single, read) : single),
    ...queries(reader, read),
    async close() {
      await commits.idle();
      separateReader?.close();
      writer.close();
    },
  };
}

function guarded(
  single: StoreReader,
  read: <Result>(work: () => Promise<Result>) => Promise<Result>,
): StoreReader {
  return {
    getSandbox: (id) => read(() => single.getSandbox(id)),
    getIdempotency: (scope, key) => read(() => single.getIdempotency(scope, key)),
  };
}

type Queries = Omit<Store, keyof StoreReader | 'transaction' | 'close'>;

function queries(
  connection: Connection,
  read: <Result>(work: () => Result | Promise<Result>) => Promise<Result>,
): Queries {
  const sandboxes = (rows: Row[]): readonly SandboxRecord[] => rows.map(sandboxFromRow);
  const number = (row: Row | undefined, column: string) => Number(row?.[column] ?? 0);
  return {
    listSandboxes: (query) =>
      read(() => {
        const { sql, parameters } = listStatement(query);
        const rows = connection.all(sql, ...parameters);
        const shown = rows.slice(0, query.limit);
        const more = rows.length > query.limit;
        return { items: sandboxes(shown), nextCursor: more ? String(shown.at(-1)?.ordinal) : null };
      }),
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
            `SELECT document FROM sandbox WHERE has_run = 0 AND due_at_ms IS NOT NULL AND due_at_ms <= ?
               ORDER BY due_at_ms LIMIT ?`,
            nowMs,
            limit,
          ),
        ),
      ),
    nextDueAtMs: () =>
      read(() => {
        const row = connection.get(
          'SELECT due_at_ms FROM sandbox WHERE has_run = 0 AND due_at_ms IS NOT NULL ORDER BY due_at_ms LIMIT 1',
        );
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
    countLive: () => read(() => number(connection.get('SELECT sum(used) AS total FROM slot'), 'total')),
    slotsUsed: (scope) =>
      read(() => number(connection.get('SELECT used FROM slot WHERE scope = ?', scope), 'used')),
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
    getSetting: (key) =>
      read(() => {
        const row = connection.get('SELECT value FROM setting WHERE key = ?', key);
        return row === undefined ? null : String(row.value);
      }),
  };
}
