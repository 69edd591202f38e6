/**
 * The simulated backend's own memory: one SQLite file, outside the core. A transaction that was answered survives
 * SIGKILL of every process, and several processes may work on the file at once.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';

const SCHEMA = `
CREATE TABLE IF NOT EXISTS things(
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, name TEXT NOT NULL, epoch INTEGER NOT NULL,
  tags TEXT NOT NULL, spec TEXT NOT NULL, price_micro_usd_per_hour INTEGER NOT NULL, stop_ms INTEGER NOT NULL,
  made_at_ms REAL NOT NULL, visible_at_ms REAL NOT NULL, tags_visible_at_ms REAL NOT NULL, ready_at_ms REAL,
  dies_at_ms REAL, deadline_at_ms REAL NOT NULL, cap_at_ms REAL NOT NULL, stop_at_ms REAL, gone_at_ms REAL,
  used_at_ms REAL NOT NULL);
CREATE INDEX IF NOT EXISTS things_by_name ON things(name);
CREATE INDEX IF NOT EXISTS things_by_end ON things(deadline_at_ms);
CREATE INDEX IF NOT EXISTS things_by_visibility ON things(visible_at_ms);
CREATE TABLE IF NOT EXISTS execs(
  pid INTEGER PRIMARY KEY AUTOINCREMENT, sequence INTEGER NOT NULL, command TEXT NOT NULL, busy_until_ms REAL NOT NULL);
CREATE INDEX IF NOT EXISTS execs_by_thing ON execs(sequence);
CREATE TABLE IF NOT EXISTS files(
  sequence INTEGER NOT NULL, path TEXT NOT NULL, type TEXT NOT NULL, mode_bits INTEGER NOT NULL, data BLOB NOT NULL,
  modified_at_ms REAL NOT NULL, PRIMARY KEY(sequence, path));
CREATE TABLE IF NOT EXISTS logs(number INTEGER PRIMARY KEY AUTOINCREMENT, sequence INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS logs_by_thing ON logs(sequence);
CREATE TABLE IF NOT EXISTS rules(
  id TEXT PRIMARY KEY, source TEXT NOT NULL, verb TEXT NOT NULL, name TEXT, rule TEXT NOT NULL,
  calls INTEGER NOT NULL DEFAULT 0, injected INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS injections(kind TEXT NOT NULL, verb TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY(kind, verb));
CREATE TABLE IF NOT EXISTS calls(verb TEXT PRIMARY KEY, count INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);
`;

const BUSY_TIMEOUT_MS = 10_000;

export type Row = Readonly<Record<string, SQLInputValue>>;

export class Truth {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #inTransaction = false;

  constructor(file: string) {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    this.#database = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
    this.#database.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;');
    this.transaction(() => this.#database.exec(SCHEMA));
  }

  /** All or nothing, and alone among all processes on the file. Nested calls join the outer one. */
  transaction<T>(work: () => T): T {
    if (this.#inTransaction) return work();
    this.#database.exec('BEGIN IMMEDIATE');
    this.#inTransaction = true;
    try {
      const result = work();
      this.#database.exec('COMMIT');
      return result;
    } catch (error) {
      this.#database.exec('ROLLBACK');
      throw error;
    } finally {
      this.#inTransaction = false;
    }
  }

  all<T>(sql: string, ...values: SQLInputValue[]): T[] {
    return this.#statement(sql).all(...values) as T[];
  }

  get<T>(sql: string, ...values: SQLInputValue[]): T | undefined {
    return this.#statement(sql).get(...values) as T | undefined;
  }

  /** Answers the row id of an insert. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#statement(sql).run(...values).lastInsertRowid);
  }

  meta(key: string): string | null {
    return this.get<{ value: string }>('SELECT value FROM meta WHERE key = ?', key)?.value ?? null;
  }

  setMeta(key: string, value: string): void {
    this.run(
      'INSERT INTO meta VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value',
      key,
      value,
    );
  }

  close(): void {
    this.#statements.clear();
    if (this.#database.isOpen) this.#database.close();
  }

  #statement(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#database.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }
}
