import type { SandboxRecord, StoreTransaction } from '../../ports/store.ts';
import { type Connection, isDiskFull, isFatal, type Row, storeError } from './connection.ts';
import { RecordCache } from './record-cache.ts';
import { SharedFlush } from './shared-flush.ts';
import { createTransaction } from './transaction.ts';

interface Pending {
  readonly work: (transaction: StoreTransaction) => Promise<unknown>;
  readonly onCommitted: ((value: unknown) => void) | undefined;
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
}

/** How one unit of work ended: `tell` is for those who need not wait for the disk. */
interface Outcome {
  tell(): void;
  answer(): void;
}

export interface CommitPolicy {
  /** How many units of work one commit, and so one fsync, may carry. */
  readonly batchSize: number;
  /** Resolves once all that was committed is on the disk. */
  flush(): Promise<void>;
  /** Frees reserved disk space once; false when there is none left. */
  releaseBallast(): boolean;
  /** A write or fsync failed: nothing later may be believed. */
  onFatal(cause: unknown): void;
}

/**
 * Runs units of work one after the other on the one writing connection and commits those that wait together
 * in one go. Each is in a savepoint of its own, so one that fails takes no other along.
 */
export class GroupCommit {
  readonly #connection: Connection;
  readonly #policy: CommitPolicy;
  readonly #transaction: StoreTransaction;
  readonly #flush: SharedFlush;
  readonly #cache = new RecordCache();
  readonly #queue: Pending[] = [];
  #running: Promise<void> | null = null;
  #durable: Promise<void> = Promise.resolve();
  #dead: unknown = null;

  constructor(connection: Connection, policy: CommitPolicy) {
    this.#connection = connection;
    this.#policy = policy;
    this.#transaction = createTransaction(connection, this.#cache);
    this.#flush = new SharedFlush(() => policy.flush());
  }

  /** The record as last committed, where it is known without asking. */
  committed(id: string): SandboxRecord | undefined {
    return this.#cache.committed(id);
  }

  /** The records of a page of rows that hold id, version and document. */
  listed(rows: readonly Row[]): readonly SandboxRecord[] {
    return this.#cache.listed(rows);
  }

  add<Result>(
    work: (transaction: StoreTransaction) => Promise<Result>,
    onCommitted?: (result: Result) => void,
  ): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      this.#queue.push({
        work,
        onCommitted: onCommitted as Pending['onCommitted'],
        resolve: resolve as (value: unknown) => void,
        reject,
      });
      this.#running ??= this.#drain();
    });
  }

  /** Resolves when nothing is queued, and all that was committed is on the disk. */
  async idle(): Promise<void> {
    while (this.#running !== null) await this.#running;
    await this.#durable;
  }

  /** Resolves when everything that can be read now would survive a power cut; rejects where it will not. */
  async durable(): Promise<void> {
    await this.#durable;
    if (this.#dead !== null) throw storeError(this.#dead);
  }

  async #drain(): Promise<void> {
    await Promise.resolve(); // lets everything asked for in this turn join the first commit
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, this.#policy.batchSize);
      await this.#commit(batch, true);
    }
    this.#running = null;
  }

  async #commit(batch: readonly Pending[], mayRetry: boolean): Promise<void> {
    if (this.#dead !== null) {
      for (const pending of batch) pending.reject(storeError(this.#dead));
      return;
    }
    const outcomes: Outcome[] = [];
    try {
      this.#connection.run('BEGIN IMMEDIATE');
      for (const pending of batch) outcomes.push(await this.#attempt(pending, batch.length === 1));
      this.#connection.run('COMMIT');
      this.#cache.commit();
    } catch (error) {
      this.#rollBack();
      if (isDiskFull(error) && mayRetry && this.#policy.releaseBallast()) return this.#commit(batch, false);
      if (isFatal(error)) this.#die(error);
      for (const pending of batch) pending.reject(storeError(error));
      return;
    }
    for (const { tell } of outcomes) tell();
    const canWait = batch.every(({ onCommitted }) => onCommitted !== undefined);
    const onDisk = canWait ? this.#flush.soon() : this.#flush.now();
    this.#durable = this.#answerOnceDurable(batch, outcomes, onDisk, this.#durable);
  }

  /**
   * Not awaited by the loop: the next units of work are committed while the disk works. What was committed earlier is
   * answered `earlier`. Never rejects.
   */
  async #answerOnceDurable(
    batch: readonly Pending[],
    outcomes: readonly Outcome[],
    onDisk: Promise<void>,
    earlier: Promise<void>,
  ): Promise<void> {
    try {
      await onDisk;
      await earlier;
      if (this.#dead !== null) throw this.#dead;
      for (const { answer } of outcomes) answer();
    } catch (error) {
      this.#die(error);
      for (const pending of batch) pending.reject(storeError(error));
    }
  }

  #die(cause: unknown): void {
    if (this.#dead !== null) return;
    this.#dead = cause;
    this.#policy.onFatal(cause);
  }

  /** One that is alone needs no savepoint: what it leaves undone is all there is to undo. */
  async #attempt(pending: Pending, isAlone: boolean): Promise<Outcome> {
    const run = (sql: string) => this.#connection.run(sql);
    if (!isAlone) run('SAVEPOINT unit');
    try {
      const result = await pending.work(this.#transaction);
      if (!isAlone) run('RELEASE unit');
      return { tell: () => pending.onCommitted?.(result), answer: () => pending.resolve(result) };
    } catch (error) {
      if (isDiskFull(error) || isFatal(error)) throw error;
      this.#cache.rollBack();
      for (const sql of isAlone ? ['ROLLBACK', 'BEGIN IMMEDIATE'] : ['ROLLBACK TO unit', 'RELEASE unit'])
        run(sql);
      return { tell: () => undefined, answer: () => pending.reject(storeError(error)) };
    }
  }

  #rollBack(): void {
    this.#cache.rollBack();
    try {
      this.#connection.run('ROLLBACK');
    } catch {
      // SQLite has already rolled back by itself after this kind of failure
    }
  }
}
