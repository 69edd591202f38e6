import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { SandboxerError } from '../../domain/errors.ts';

export type Row = Record<string, SQLInputValue>;

/** What statements that write are given: JSON keeps all of it. */
export type Parameter = string | number | null;

export type Statement = readonly [sql: string, ...parameters: Parameter[]];

/** One SQLite connection with its prepared statements. Parameters are positional (`?`). */
export class Connection {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  get(sql: string, ...parameters: SQLInputValue[]): Row | undefined {
    return this.#prepare(sql).get(...parameters) as Row | undefined;
  }

  all(sql: string, ...parameters: SQLInputValue[]): Row[] {
    return this.#prepare(sql).all(...parameters) as Row[];
  }

  /** How many rows were changed. */
  run(sql: string, ...parameters: Parameter[]): number {
    return Number(this.#prepare(sql).run(...parameters).changes);
  }

  close(): void {
    this.#statements.clear();
    this.#database.close();
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/**
 * WAL with `synchronous = NORMAL`: a power cut leaves the database whole, and every commit durable that a `Flusher` has
 * flushed since. No answer is given before that; see docs/decisions/flush-beside-commit.md. A transaction that stays open
 * writes no page before it ends.
 */
export function openDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: 5_000 });
  database.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_spill = OFF;',
  );
  return database;
}

const SQLITE_FULL = 13;
const SQLITE_IOERR = 10;
const SQLITE_CONSTRAINT = 19;

function primaryCode(thrown: unknown): number | null {
  if (!(thrown instanceof Error) || !('errcode' in thrown)) return null;
  return Number(thrown.errcode) & 0xff;
}

/** What SQLite says, or the operating system where a file is written beside SQLite. */
function says(thrown: unknown, sqliteCode: number, systemCode: string): boolean {
  const isToldBySystem = thrown instanceof Error && 'code' in thrown && thrown.code === systemCode;
  return isToldBySystem || primaryCode(thrown) === sqliteCode;
}

export function isDiskFull(thrown: unknown): boolean {
  return says(thrown, SQLITE_FULL, 'ENOSPC');
}

/** After a failed write or fsync nothing the connection says about durability can be believed. */
export function isFatal(thrown: unknown): boolean {
  return says(thrown, SQLITE_IOERR, 'EIO');
}

export function isConstraint(thrown: unknown): boolean {
  return primaryCode(thrown) === SQLITE_CONSTRAINT;
}

export function storeError(thrown: unknown): SandboxerError {
  if (thrown instanceof SandboxerError) return thrown;
  if (isDiskFull(thrown)) {
    return new SandboxerError('store_full', 'The disk that holds SANDBOXER_HOME is full.', {
      nextStep: 'Free some space and repeat the request; reading and destroying still work.',
      cause: thrown,
    });
  }
  return new SandboxerError('store_unavailable', 'The store could not be read or written.', {
    nextStep: 'Run `sandboxer doctor`; it names the file and the reason.',
    cause: thrown,
  });
}
