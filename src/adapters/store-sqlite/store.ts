import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LIMITS } from '../../domain/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Store, StoreReader } from '../../ports/store.ts';
import { Connection, openDatabase, storeError } from './connection.ts';
import { LogFlusher, NO_FLUSH } from './flush.ts';
import { GroupCommit } from './group-commit.ts';
import { readJournal } from './journal.ts';
import type { Files } from './open-transaction.ts';
import { createQueries, type Read } from './queries.ts';
import { beginJournal, recover } from './recovery.ts';
import { migrate } from './schema.ts';
import { createReader } from './transaction.ts';

const GROUP_COMMIT_SIZE = 64;
const SEAL_EVERY_MS = 1_000;

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
  /** For a process that stays: keeps a journal, so that many units of work share a commit. Takes some milliseconds. */
  readonly journal?: { readonly clock: Clock };
}

/**
 * The store in `directory/store.sqlite`, with what the journal beside it has kept. Throws `store_newer` for a file of a
 * later release. The caller holds the home's lock: one process writes.
 */
export function openSqliteStore(directory: string, options: SqliteStoreOptions = {}): Store {
  const path = join(directory, 'store.sqlite');
  const journalPath = join(directory, 'store.journal');
  try {
    const database = openDatabase(path);
    const ballast = ballastFile(directory);
    migrate(database, (last) => recover(database, readJournal(journalPath, last), ballast.release));
    tryToReserve(ballast);
    const log = new LogFlusher(`${path}-wal`);
    const connection = new Connection(database);
    const clock = options.journal?.clock;
    const journal = clock === undefined ? null : beginJournal(connection, journalPath, log, clock);
    return build(connection, { journal, database: log }, ballast, options);
  } catch (error) {
    throw storeError(error);
  }
}

/** The same store on a private in-memory database: nothing outlives it. */
export function openMemoryStore(): Store {
  const database = openDatabase(':memory:');
  migrate(database);
  const files = { journal: null, database: NO_FLUSH };
  return build(new Connection(database), files, { release: () => false }, {});
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
  connection: Connection,
  files: Files,
  ballast: { release(): boolean },
  { onFatal, journal }: SqliteStoreOptions,
): Store {
  const commits = new GroupCommit(connection, {
    ...files,
    batchSize: GROUP_COMMIT_SIZE,
    releaseBallast: () => ballast.release(),
    onFatal: (cause) => onFatal?.(cause),
  });
  const read: Read = async (work) => {
    try {
      const result = await commits.between(work);
      await commits.durable();
      return result;
    } catch (error) {
      throw storeError(error);
    }
  };
  const closing = new AbortController();
  const sealing = journal === undefined ? null : sealNowAndThen(commits, journal.clock, closing.signal);
  const single = createReader(connection, (id) => commits.committed(id));
  return {
    transaction: (work, onCommitted) => commits.add(work, onCommitted),
    ...guarded(single, read),
    ...createQueries(connection, read, (rows) => commits.listed(rows)),
    async close() {
      closing.abort();
      await sealing;
      await commits.close();
      files.journal?.close();
      files.database.close();
      connection.close();
    },
  };
}

/** So that whoever copies the database misses no more than that. */
async function sealNowAndThen(commits: GroupCommit, clock: Clock, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(SEAL_EVERY_MS, signal).catch(() => undefined); // aborted: the store is being closed
    await commits.seal();
  }
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
