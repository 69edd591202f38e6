import type { DatabaseSync } from 'node:sqlite';
import type { Clock } from '../../ports/clock.ts';
import { Connection, isDiskFull } from './connection.ts';
import type { LogFlusher } from './flush.ts';
import { type Entry, Journal, newJournalStart } from './journal.ts';

function replay(database: DatabaseSync, entries: readonly Entry[]): void {
  const last = entries.at(-1)?.number;
  if (last === undefined) return;
  const connection = new Connection(database);
  connection.run('BEGIN IMMEDIATE');
  for (const { statements } of entries) for (const statement of statements) connection.run(...statement);
  connection.run('UPDATE journal SET last = ?', last);
  connection.run('COMMIT');
}

/** Commits what a process that ended before its last commit had kept. `makeRoom` is asked for once where the disk is full. */
export function recover(database: DatabaseSync, entries: readonly Entry[], makeRoom: () => boolean): void {
  try {
    replay(database, entries);
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    if (!isDiskFull(error) || !makeRoom()) throw error;
    replay(database, entries);
  }
}

/** A journal that begins after all that `log` has of the database, or null where the disk has no room for one. */
export function beginJournal(
  connection: Connection,
  path: string,
  log: LogFlusher,
  clock: Clock,
): Journal | null {
  try {
    const start = newJournalStart();
    connection.run('UPDATE journal SET last = ?', start);
    log.flushHere();
    return new Journal(path, start, clock);
  } catch (error) {
    if (isDiskFull(error)) return null;
    throw error;
  }
}
