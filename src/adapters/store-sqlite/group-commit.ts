import type { SandboxRecord, StoreTransaction } from '../../ports/store.ts';
import { type Connection, isDiskFull, isFatal, type Row, storeError } from './connection.ts';
import type { Flusher } from './flush.ts';
import { type Files, OpenTransaction } from './open-transaction.ts';
import { RecordCache } from './record-cache.ts';
import { SharedFlush } from './shared-flush.ts';

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

export interface CommitPolicy extends Files {
  /** How many units of work may share what makes them durable. */
  readonly batchSize: number;
  /** Frees reserved disk space once; false when there is none left. */
  releaseBallast(): boolean;
  /** A write or fsync failed: nothing later may be believed. */
  onFatal(cause: unknown): void;
}

/**
 * Runs units of work one after the other on the one connection, and makes those that wait together durable in one go.
 * Each is in a savepoint of its own, so one that fails takes no other along.
 */
export class GroupCommit {
  readonly #policy: CommitPolicy;
  readonly #transaction: OpenTransaction;
  readonly #flush = new SharedFlush();
  readonly #cache = new RecordCache();
  readonly #queue: Pending[] = [];
  readonly #between: (() => void)[] = [];
  #running: Promise<void> | null = null;
  #durable: Promise<void> = Promise.resolve();
  #sealed: Promise<void> = Promise.resolve();
  #dead: unknown = null;

  constructor(connection: Pick<Connection, 'get' | 'run'>, policy: CommitPolicy) {
    this.#policy = policy;
    this.#transaction = new OpenTransaction(connection, this.#cache, policy);
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

  /** Calls back at once, or after the units that are under way: what is read in one go is whole. */
  between<Result>(work: () => Result | Promise<Result>): Promise<Result> {
    const begin = async () => work();
    if (this.#running === null) return begin();
    return new Promise((resolve) => this.#between.push(() => resolve(begin())));
  }

  /** Commits what is in the journal alone. Safe to repeat. */
  seal(): Promise<void> {
    return this.between(() => {
      if (this.#transaction.isUnsealed && this.#dead === null) this.#seal();
    });
  }

  /** Resolves when nothing is queued, and the database on the disk has all that was answered. */
  async close(): Promise<void> {
    while (this.#running !== null) await this.#running;
    await this.#durable;
    await this.seal();
    await this.#sealed;
  }

  /** Resolves when everything that can be read now would survive a power cut; rejects where it will not. */
  async durable(): Promise<void> {
    await this.#durable;
    if (this.#dead !== null) throw storeError(this.#dead);
  }

  async #drain(): Promise<void> {
    await Promise.resolve(); // lets everything asked for in this turn join the first batch
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, this.#policy.batchSize);
      await this.#commit(batch, true);
      if (this.#transaction.isDue && this.#dead === null) this.#seal();
      for (const work of this.#between.splice(0)) work();
    }
    this.#running = null;
  }

  async #commit(batch: readonly Pending[], mayRetry: boolean): Promise<void> {
    if (this.#dead !== null) {
      for (const pending of batch) pending.reject(storeError(this.#dead));
      return;
    }
    const outcomes: Outcome[] = [];
    let flusher: Flusher;
    try {
      for (const pending of batch) outcomes.push(await this.#attempt(pending));
      flusher = this.#transaction.keep();
    } catch (error) {
      this.#undo(error);
      if (isDiskFull(error) && mayRetry && this.#policy.releaseBallast()) return this.#commit(batch, false);
      for (const pending of batch) pending.reject(storeError(error));
      return;
    }
    for (const { tell } of outcomes) tell();
    const canWait = batch.every(({ onCommitted }) => onCommitted !== undefined);
    const onDisk = canWait ? this.#flush.soon(flusher) : this.#flush.now(flusher);
    this.#durable = this.#answerOnceDurable(batch, outcomes, onDisk, this.#durable);
  }

  /**
   * Not awaited by the loop: the next units of work are performed while the disk works. What was kept earlier is
   * answered `earlier`. Never rejects.
   */
  async #answerOnceDurable(
    batch: readonly Pending[],
    outcomes: readonly Outcome[],
    onDisk: Promise<unknown>,
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

  /** Where the disk is full all stays in the journal, and is committed with the next units. */
  #seal(): void {
    try {
      this.#sealed = this.#transaction.seal().catch((error) => this.#die(error));
    } catch (error) {
      this.#undo(error);
    }
  }

  #undo(cause: unknown): void {
    try {
      this.#transaction.undo(cause);
      if (isFatal(cause)) this.#die(cause);
    } catch (error) {
      this.#die(error);
    }
  }

  #die(cause: unknown): void {
    if (this.#dead !== null) return;
    this.#dead = cause;
    this.#policy.onFatal(cause);
  }

  async #attempt(pending: Pending): Promise<Outcome> {
    try {
      const result = await this.#transaction.perform(pending.work);
      return { tell: () => pending.onCommitted?.(result), answer: () => pending.resolve(result) };
    } catch (error) {
      if (isDiskFull(error) || isFatal(error)) throw error;
      return { tell: () => undefined, answer: () => pending.reject(storeError(error)) };
    }
  }
}
