import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LIMITS } from '../../domain/limits.ts';
import type { Store, StoreReader } from '../../ports/store.ts';
import { Connection, openDatabase, storeError } from './connection.ts';
import { type Flusher, LogFlusher, NO_FLUSH } from './flush.ts';
import { GroupCommit } from './group-commit.ts';
import { createQueries, type Read } from './queries.ts';
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
  /** For a process that stays: reserves the log's space, which takes some milliseconds and makes commits faster. */
  readonly reserveLog?: boolean;
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
    return build(
      new Connection(writer),
      new Connection(openDatabase(path)),
      ballast,
      new LogFlusher(`${path}-wal`, options.reserveLog),
      options,
    );
  } catch (error) {
    throw storeError(error);
  }
}

/** The same store on a private in-memory database: nothing outlives it. */
export function openMemoryStore(): Store {
  const database = openDatabase(':memory:');
  migrate(database);
  const connection = new Connection(database);
  return build(connection, null, { release: () => false }, NO_FLUSH, {});
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
  flusher: Flusher,
  options: SqliteStoreOptions,
): Store {
  const commits = new GroupCommit(writer, {
    batchSize: GROUP_COMMIT_SIZE,
    flush: () => flusher.flush(),
    releaseBallast: () => ballast.release(),
    onFatal: (cause) => options.onFatal?.(cause),
  });
  const reader = separateReader ?? writer;
  /** Reads see committed data only: on their own connection, or once no transaction is open. */
  const read: Read = async (work) => {
    if (separateReader === null) await commits.idle();
    try {
      const result = await work();
      await commits.durable();
      return result;
    } catch (error) {
      throw storeError(error);
    }
  };
  const single = createReader(reader, (id) => commits.committed(id));
  return {
    transaction: (work, onCommitted) => commits.add(work, onCommitted),
    ...guarded(single, read),
    ...createQueries(reader, read, (rows) => commits.listed(rows)),
    async close() {
      await commits.idle();
      flusher.close();
      separateReader?.close();
      writer.close();
    },
  };
}

function guarded(single: StoreReader, read: Read): StoreReader {
  return {
    getSandbox: (id) => read(() => single.getSandbox(id)),
    getIdempotency: (scope, key) => read(() => single.getIdempotency(scope, key)),
    getHost: (name) => read(() => single.getHost(name)),
    hostSlotsUsed: (name) => read(() => single.hostSlotsUsed(name)),
    hostRuns: (name) => read(() => single.hostRuns(name)),
    getSnapshot: (id) => read(() => single.getSnapshot(id)),
    getSnapshotFile: (id) => read(() => single.getSnapshotFile(id)),
  };
}
