/** P11–P13: a full disk, a broken disk, a newer store, a second process on the same home. */
import { execFileSync, spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, describe, expect, it } from 'vitest';
import { createSystemClock } from '../../src/adapters/clock/system-clock.ts';
import { Connection } from '../../src/adapters/store-sqlite/connection.ts';
import { type Flusher, LogFlusher, NO_FLUSH } from '../../src/adapters/store-sqlite/flush.ts';
import { GroupCommit } from '../../src/adapters/store-sqlite/group-commit.ts';
import { lockHome } from '../../src/adapters/store-sqlite/home-lock.ts';
import { migrate } from '../../src/adapters/store-sqlite/schema.ts';
import { openSqliteStore } from '../../src/adapters/store-sqlite/store.ts';
import { LIMITS } from '../../src/domain/limits.ts';
import { Sandboxer } from '../../src/faces/library/index.ts';
import { LocalTransport } from '../../src/faces/library/local-transport.ts';
import { compose } from '../../src/main.ts';
import { sampleRecord } from '../standins/sample-record.ts';
import { startSimulatedBackend } from '../standins/simulated-backend.ts';
import { readSimulatedTruth } from '../standins/simulated-truth.ts';

const directory = mkdtempSync(join(tmpdir(), 'sbx-durable-'));
const mounted: string[] = [];
afterAll(() => {
  for (const path of mounted) execFileSync('umount', ['--lazy', path]);
  rmSync(directory, { recursive: true, force: true });
});
const clock = createSystemClock();
const isRoot = process.getuid?.() === 0;

function flushing(flush: () => Promise<void>): Flusher {
  return { flush, close: () => undefined };
}

function fill(path: string): void {
  const piece = Buffer.alloc(64 * 1024, 7);
  for (let index = 0; ; index += 1) {
    try {
      writeFileSync(join(path, `filler-${index}`), piece);
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') return;
      throw error;
    }
  }
}

describe.runIf(isRoot).each([false, true])('a full disk (P12), with a journal: %s', (staysUp) => {
  it('refuses a create with one sentence and no backend call, and still reads and destroys', async () => {
    const home = join(directory, `full-${staysUp}`);
    mkdirSync(home);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'none', home]);
    mounted.push(home);
    const truthDirectory = join(directory, `truth-${staysUp}`);
    const backend = await startSimulatedBackend(truthDirectory);
    const environment = { PATH: process.env.PATH, SANDBOXER_HOME: home, ...backend.environment };
    const sandboxer = new Sandboxer(new LocalTransport(await compose({ environment, staysUp })));
    const profile = { profile: 'profile.simulated' };
    const first = await sandboxer.create(profile);
    const second = await sandboxer.create(profile);
    expect(statSync(join(home, 'ballast')).size).toBe(LIMITS.ballastBytes);
    fill(home);
    const outcomes: string[] = [];
    for (let attempt = 0; attempt < 4_000 && outcomes.at(-1) !== 'store_full'; attempt += 1) {
      const outcome = await sandboxer.create({ ...profile, labels: { filler: 'x'.repeat(250) } }).then(
        () => 'ok',
        (error: { code: string }) => error.code,
      );
      outcomes.push(outcome);
      if (outcome === 'ok') fill(home);
    }
    expect(existsSync(join(home, 'ballast')), 'the ballast was released').toBe(false);
    expect((await sandboxer.get(first.id)).status.state).toBe('ready');
    const alive = async (some: Sandboxer) =>
      (await some.list({ limit: 500 })).items.filter(({ state }) => state === 'ready').length;
    const aliveBefore = await alive(sandboxer);
    await sandboxer.close();
    const asItIs = new Sandboxer(new LocalTransport(await compose({ environment, staysUp: true })));
    expect(await alive(asItIs), 'nothing that was answered is lost').toBe(aliveBefore);
    await asItIs.close();
    for (const name of ['filler-0', 'filler-1', 'filler-2', 'filler-3'])
      rmSync(join(home, name), { force: true });
    const later = await Sandboxer.connect({ environment });
    expect((await (await later.get(second.id)).destroy()).state).toBe('destroyed');
    const truth = readSimulatedTruth(truthDirectory);
    expect(truth.things().length).toBe(await alive(later));
    truth.close();
    await later.close();
    await backend.stop();
  }, 120_000);
});

describe.runIf(isRoot)('a home with a journal on a full disk', () => {
  it('is opened with the room that was held back, and has what was answered', async () => {
    const first = mkdtempSync(join(directory, 'room-'));
    const store = openSqliteStore(first, { journal: { clock } });
    for (let index = 0; index < 30; index += 1)
      await store.transaction((transaction) =>
        transaction.insertSandbox(sampleRecord({ attention: 'x'.repeat(2_000) })),
      );
    const full = mkdtempSync(join(directory, 'no-room-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'none', full]);
    mounted.push(full);
    for (const name of readdirSync(first)) cpSync(join(first, name), join(full, name));
    await store.close();
    fill(full);
    const later = openSqliteStore(full);
    const { items } = await later.listSandboxes({ project: null, cursor: null, limit: 100 });
    expect(items).toHaveLength(30);
    expect(existsSync(join(full, 'ballast'))).toBe(false);
    await later.close();
  });
});

describe('a broken disk (P13)', () => {
  it('is never trusted again: every later write fails, and the owner is told once', async () => {
    const database = new DatabaseSync(':memory:');
    migrate(database);
    const real = new Connection(database);
    let broken = false;
    const connection = new Proxy(real, {
      get: (target, name) => {
        if (name !== 'run') return Reflect.get(target, name).bind(target);
        return (sql: string, ...rest: never[]) => {
          if (sql === 'COMMIT' && broken) throw Object.assign(new Error('disk I/O error'), { errcode: 1034 });
          return real.run(sql, ...rest);
        };
      },
    });
    const told: unknown[] = [];
    const commits = new GroupCommit(connection, {
      batchSize: 8,
      journal: null,
      database: NO_FLUSH,
      releaseBallast: () => false,
      onFatal: (cause) => told.push(cause),
    });
    await commits.add((transaction) => transaction.insertSandbox(sampleRecord()));
    broken = true;
    const failing = commits.add((transaction) => transaction.insertSandbox(sampleRecord()));
    await expect(failing).rejects.toMatchObject({ code: 'store_unavailable' });
    broken = false;
    const later = commits.add((transaction) => transaction.insertSandbox(sampleRecord()));
    await expect(later).rejects.toMatchObject({ code: 'store_unavailable' });
    expect(told).toHaveLength(1);
  });
});

describe('a flush that fails (P13)', () => {
  it('answers nobody, and the store is never trusted again', async () => {
    const database = new DatabaseSync(':memory:');
    migrate(database);
    let working = true;
    const told: unknown[] = [];
    const commits = new GroupCommit(new Connection(database), {
      batchSize: 8,
      journal: null,
      database: flushing(async () => {
        if (!working) throw Object.assign(new Error('input/output error'), { code: 'EIO' });
      }),
      releaseBallast: () => false,
      onFatal: (cause) => told.push(cause),
    });
    const insert = () => commits.add((transaction) => transaction.insertSandbox(sampleRecord()));
    await insert();
    working = false;
    await expect(insert()).rejects.toMatchObject({ code: 'store_unavailable' });
    working = true;
    await expect(insert()).rejects.toMatchObject({ code: 'store_unavailable' });
    expect(told).toHaveLength(1);
  });
});

describe('a flush that fails while the next one waits', () => {
  it('fails that one too, though the disk answers again', async () => {
    const database = new DatabaseSync(':memory:');
    migrate(database);
    const outcomes = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let flushes = 0;
    const commits = new GroupCommit(new Connection(database), {
      batchSize: 1,
      journal: null,
      database: flushing(() => outcomes[flushes++]!.promise),
      releaseBallast: () => false,
      onFatal: () => undefined,
    });
    const insert = () => commits.add((transaction) => transaction.insertSandbox(sampleRecord()));
    const results = [insert(), insert()].map((work) =>
      work.then(
        () => 'answered',
        () => 'refused',
      ),
    );
    while (flushes < 2) await new Promise((resolve) => setImmediate(resolve));
    outcomes[0]!.reject(Object.assign(new Error('input/output error'), { code: 'EIO' }));
    outcomes[1]!.resolve();
    expect(await Promise.all(results)).toEqual(['refused', 'refused']);
  });
});

describe('units that need not wait for the disk', () => {
  it('are told of their commit, and answered with the flush of the turn they share', async () => {
    const database = new DatabaseSync(':memory:');
    migrate(database);
    const flushes: PromiseWithResolvers<void>[] = [];
    const commits = new GroupCommit(new Connection(database), {
      batchSize: 1,
      journal: null,
      database: flushing(() => {
        flushes.push(Promise.withResolvers());
        return flushes.at(-1)!.promise;
      }),
      releaseBallast: () => false,
      onFatal: () => undefined,
    });
    const order: string[] = [];
    const add = (name: string, onCommitted?: () => void) =>
      commits
        .add((transaction) => transaction.insertSandbox(sampleRecord()), onCommitted)
        .then(() => order.push(`${name} answered`));
    const second = Promise.withResolvers<void>();
    const first = add('first', () => {
      order.push('first told');
      add('second').then(() => second.resolve());
    });
    await expect.poll(() => flushes.length, { timeout: 15_000, interval: 5 }).toBe(1);
    expect([order, flushes.length]).toEqual([['first told'], 1]);
    flushes[0]!.resolve();
    await Promise.all([first, second.promise]);
    expect(order).toEqual(['first told', 'first answered', 'second answered']);
  });

  it('are refused when the flush fails, and so is every later read and write', async () => {
    const database = new DatabaseSync(':memory:');
    migrate(database);
    const commits = new GroupCommit(new Connection(database), {
      batchSize: 8,
      journal: null,
      database: flushing(() =>
        Promise.reject(Object.assign(new Error('input/output error'), { code: 'EIO' })),
      ),
      releaseBallast: () => false,
      onFatal: () => undefined,
    });
    let told = 0;
    const early = commits.add(
      (transaction) => transaction.insertSandbox(sampleRecord()),
      () => {
        told += 1;
      },
    );
    await expect(early).rejects.toMatchObject({ code: 'store_unavailable' });
    await expect(commits.durable()).rejects.toMatchObject({ code: 'store_unavailable' });
    const later = commits.add(async () => 1);
    await expect(later).rejects.toMatchObject({ code: 'store_unavailable' });
    expect(told).toBe(1);
  });
});

describe('the flusher', () => {
  it('flushes once for all that wait together, and again for what came later', async () => {
    const path = join(directory, 'log');
    writeFileSync(path, 'x');
    const flusher = new LogFlusher(path);
    const first = flusher.flush();
    const later = [flusher.flush(), flusher.flush()];
    expect(later[0]).toBe(later[1]);
    expect(first).not.toBe(later[0]);
    await Promise.all([first, ...later]);
    flusher.close();
  });
});

describe('a store from a newer version (P14)', () => {
  it('is refused and left as it is', () => {
    const home = mkdtempSync(join(directory, 'newer-'));
    const database = new DatabaseSync(join(home, 'store.sqlite'));
    database.exec('PRAGMA user_version = 99');
    database.close();
    expect(() => openSqliteStore(home)).toThrowError(expect.objectContaining({ code: 'store_newer' }));
    const after = new DatabaseSync(join(home, 'store.sqlite'));
    expect(after.prepare('PRAGMA user_version').get()?.user_version).toBe(99);
    after.close();
  });
});

describe('the lock of a home', () => {
  it('lets one process in, names it to the next, and ends with it', async () => {
    const home = mkdtempSync(join(directory, 'lock-'));
    const script = `
      const { lockHome } = await import(${JSON.stringify(join(import.meta.dirname, '../../src/adapters/store-sqlite/home-lock.ts'))});
      const { createSystemClock } = await import(${JSON.stringify(join(import.meta.dirname, '../../src/adapters/clock/system-clock.ts'))});
      await lockHome(${JSON.stringify(home)}, createSystemClock(), 0);
      process.stdout.write('locked');
      setInterval(() => undefined, 1000);`;
    const other = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => other.stdout.once('data', resolve));
    await expect(lockHome(home, clock, 50)).rejects.toMatchObject({
      code: 'home_locked',
      message: expect.stringContaining(String(other.pid)),
    });
    const waiting = lockHome(home, clock, 10_000);
    other.kill('SIGKILL');
    (await waiting).release();
  });
});
