import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { SandboxerError } from '../../domain/errors.ts';
import type { Clock } from '../../ports/clock.ts';

export interface HomeLock {
  release(): void;
}

const RETRY_MS = 25;

function tryLock(directory: string): HomeLock | null {
  const database = new DatabaseSync(join(directory, 'lock.sqlite'), { timeout: 0 });
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;');
  } catch (error) {
    database.close();
    if (error instanceof Error && /locked|busy/.test(error.message)) return null;
    throw error;
  }
  writeFileSync(join(directory, 'lock.pid'), `${process.pid}\n`, { mode: 0o600 });
  return {
    release() {
      database.close();
    },
  };
}

function holder(directory: string): string {
  try {
    return `process ${readFileSync(join(directory, 'lock.pid'), 'utf8').trim()}`;
  } catch {
    return 'another process'; // it has taken the lock and not yet written its number
  }
}

/**
 * Makes this process the one writer of a home. The lock is the operating system's (SQLite's own file lock), so
 * it ends with the process, however that ends. Waits up to `waitMs`; throws `home_locked` naming the holder.
 */
export async function lockHome(directory: string, clock: Clock, waitMs: number): Promise<HomeLock> {
  const giveUpAtMs = clock.monotonicMs() + waitMs;
  for (;;) {
    const lock = tryLock(directory);
    if (lock !== null) return lock;
    if (clock.monotonicMs() >= giveUpAtMs) {
      throw new SandboxerError('home_locked', `${holder(directory)} is using ${directory}.`, {
        nextStep: 'Stop it, or set SANDBOXER_HOME to another directory.',
      });
    }
    await clock.sleep(RETRY_MS);
  }
}
