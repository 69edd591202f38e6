import type { StoreTransaction } from '../../ports/store.ts';
import { type Connection, isDiskFull, isFatal, type Statement } from './connection.ts';
import { type Flusher, NO_FLUSH } from './flush.ts';
import type { Journal } from './journal.ts';
import type { RecordCache } from './record-cache.ts';
import { createTransaction } from './transaction.ts';

/** So much is committed in one go, in a few milliseconds at most. */
const SEAL_AT_BYTES = 128 * 1024;

export interface Files {
  /** Null where each batch of units is a commit of its own. */
  readonly journal: Journal | null;
  /** Makes what SQLite has committed survive a power cut. */
  readonly database: Flusher;
}

/**
 * The one writing transaction. Units of work are kept in the journal as they come, and the transaction stays open over
 * many of them until it is sealed; see docs/decisions/journal-before-commit.md. Where there is no journal, or no room in
 * it, keeping is sealing.
 */
export class OpenTransaction {
  readonly #connection: Pick<Connection, 'get' | 'run'>;
  readonly #cache: RecordCache;
  readonly #files: Files;
  readonly #transaction: StoreTransaction;
  /** By units that are not kept yet. */
  readonly #written: Statement[] = [];
  /** Kept in the journal, and not yet committed. */
  readonly #unsealed: Statement[] = [];
  #isOpen = false;
  /** Not where the disk was full: what is in the journal alone would need room when it is opened again. */
  #usesJournal = true;

  constructor(connection: Pick<Connection, 'get' | 'run'>, cache: RecordCache, files: Files) {
    this.#connection = connection;
    this.#cache = cache;
    this.#files = files;
    const run: Connection['run'] = (sql, ...parameters) => {
      const changes = connection.run(sql, ...parameters);
      if (changes > 0) this.#written.push([sql, ...parameters]);
      return changes;
    };
    this.#transaction = createTransaction({ get: (...query) => connection.get(...query), run }, cache);
  }

  /** Whether something is in the journal alone. */
  get isUnsealed(): boolean {
    return this.#unsealed.length > 0;
  }

  /** Runs one unit of work, which leaves nothing if it fails. A disk that is full or broken fails all: `undo` then. */
  async perform<Result>(work: (transaction: StoreTransaction) => Promise<Result>): Promise<Result> {
    this.#begin();
    const before = this.#written.length;
    this.#connection.run('SAVEPOINT unit');
    try {
      const result = await work(this.#transaction);
      this.#connection.run('RELEASE unit');
      return result;
    } catch (error) {
      if (isDiskFull(error) || isFatal(error)) throw error;
      this.#written.length = before;
      this.#cache.rollBack();
      this.#connection.run('ROLLBACK TO unit');
      this.#connection.run('RELEASE unit');
      throw error;
    }
  }

  /** What was performed survives the end of this process; what it returns makes it survive a power cut. */
  keep(): Flusher {
    const { journal, database } = this.#files;
    const isEmpty = this.#written.length === 0;
    const isInJournal = journal !== null && this.#usesJournal && (isEmpty || journal.append(this.#written));
    if (isInJournal) this.#unsealed.push(...this.#written.splice(0));
    else this.#commit();
    this.#cache.commit();
    if (isEmpty) return NO_FLUSH;
    return isInJournal ? journal.flusher : database;
  }

  /** Whether it is time to seal. */
  get isDue(): boolean {
    return (this.#files.journal?.usedBytes ?? 0) >= SEAL_AT_BYTES;
  }

  /** Commits what was kept. Rejects only where a flush failed. */
  seal(): Promise<void> {
    this.#commit();
    const release = this.#files.journal?.turn();
    return this.#files.database.flush().then(release);
  }

  /** After a failure that left SQLite in a state nobody knows: takes back what was not kept. */
  undo(cause: unknown): void {
    if (isDiskFull(cause)) this.#usesJournal = false;
    this.#cache.rollBack();
    this.#written.length = 0;
    this.#isOpen = false;
    try {
      this.#connection.run('ROLLBACK');
    } catch {
      // SQLite has already rolled back by itself after this kind of failure
    }
    if (!this.isUnsealed) return;
    this.#begin();
    for (const statement of this.#unsealed) this.#connection.run(...statement);
  }

  #begin(): void {
    if (this.#isOpen) return;
    this.#connection.run('BEGIN IMMEDIATE');
    this.#isOpen = true;
  }

  #commit(): void {
    if (!this.#isOpen) return;
    const { journal } = this.#files;
    if (journal !== null) this.#connection.run('UPDATE journal SET last = ?', journal.last);
    this.#connection.run('COMMIT');
    this.#isOpen = false;
    this.#written.length = 0;
    this.#unsealed.length = 0;
  }
}
