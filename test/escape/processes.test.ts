/** P19 (T14), processes and limits: nothing outlives its sandbox, takes more than its share, or outlives its deadline. */
import { execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Sandboxer } from '../../src/faces/library/index.ts';
import { destroyAll } from '../standins/destroy-all.ts';
import { canary, IS_ROOT } from './bench.ts';

const home = mkdtempSync(join(tmpdir(), 'sbx-processes-'));
const environment = { PATH: process.env.PATH, SANDBOXER_HOME: home, SANDBOXER_PROFILES: join(home, 'own') };
let sandboxer: Sandboxer;

function writeProfile(slug: string, resources: string): string {
  const text = `id: profile.${slug}\nversion: "1.0.0"\nextension: ext.local\nttl: {default: 5m, max: 1h}\nresources: ${resources}\n`;
  writeFileSync(join(home, 'own', `profile.${slug}.yaml`), text);
  return `profile.${slug}`;
}

beforeAll(async () => {
  mkdirSync(join(home, 'own'));
  sandboxer = await Sandboxer.connect({ environment });
});
afterAll(async () => {
  await sandboxer.close();
  await destroyAll(home);
  rmSync(home, { recursive: true, force: true });
});

/** Living processes on this machine whose arguments hold the mark. */
function processesWith(mark: string): number {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(mark);
      } catch {
        return false; // it has ended meanwhile
      }
    }).length;
}

async function until(condition: () => boolean, milliseconds: number): Promise<void> {
  const end = performance.now() + milliseconds;
  while (!condition() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(condition()).toBe(true);
}

describe('a process inside', () => {
  it('that hides from its session ends with the sandbox', async () => {
    const mark = canary();
    const sandbox = await sandboxer.create({ profile: 'profile.local' });
    await sandbox.run([
      'sh',
      '-c',
      `setsid sh -c 'trap "" HUP TERM INT; sleep 300; : ${mark}' >/dev/null 2>&1 &`,
    ]);
    await until(() => processesWith(mark) > 0, 5_000);
    await sandbox.destroy();
    expect(processesWith(mark)).toBe(0);
  });

  it('sees no process of the host', async () => {
    const sandbox = await sandboxer.create({ profile: 'profile.local' });
    const { stdout } = await sandbox.run(['sh', '-c', 'ls -d /proc/[0-9]* | wc -l']);
    expect(Number(stdout)).toBeLessThan(10);
    await sandbox.destroy();
  });
});

describe.runIf(IS_ROOT)('limits', () => {
  it('a fork bomb stays inside, and the sandbox can be removed', async () => {
    const profile = writeProfile('few-processes', '{processes: 40}');
    const sandbox = await sandboxer.create({ profile });
    const bomb = await sandbox.start(['sh', '-c', 'b() { b | b & }; b; sleep 5']);
    await new Promise((resolve) => setTimeout(resolve, 700));
    const other = await sandboxer.create({ profile: 'profile.local' });
    expect((await other.run(['echo', 'fine'])).stdout).toBe('fine\n');
    bomb.close();
    expect((await sandbox.destroy()).state).toBe('destroyed');
    await other.destroy();
  }, 60_000);

  it('a memory bomb is killed, and the sandbox lives', async () => {
    const profile = writeProfile('little-memory', '{memory_mb: 64}');
    const sandbox = await sandboxer.create({ profile });
    const bomb = await sandbox.run(['sh', '-c', 'head -c 300000000 /dev/zero | tail | wc -c'], {
      timeout_ms: 20_000,
    });
    expect(bomb.stdout.trim()).not.toBe('300000000');
    expect((await sandbox.run(['echo', 'alive'])).stdout).toBe('alive\n');
    await sandbox.destroy();
  }, 60_000);

  it('a spinning process gets its share of a processor and no more', async () => {
    const profile = writeProfile('slow', '{cpu: 0.2}');
    const sandbox = await sandboxer.create({ profile });
    const began = performance.now();
    const { stdout } = await sandbox.run(
      ['sh', '-c', 'timeout 2 sh -c "while :; do :; done"; cat /proc/self/stat > /dev/null; times'],
      {},
    );
    const seconds = (performance.now() - began) / 1_000;
    const used = [...stdout.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
      (sum, match) => sum + Number(match[1]) * 60 + Number(match[2]),
      0,
    );
    expect(used / seconds).toBeLessThan(0.4);
    await sandbox.destroy();
  }, 60_000);
});

describe.runIf(IS_ROOT)('a launcher that dies', () => {
  it('takes no limit from the sandbox that comes next', async () => {
    const profile = writeProfile('still-limited', '{processes: 40}');
    const before = await sandboxer.create({ profile });
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        const [program, mode] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        const parent = Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')[1]);
        if (program?.includes('sandboxer-agent') && mode === 'launch' && parent === process.pid)
          process.kill(Number(pid), 'SIGKILL');
      } catch {
        // it has ended meanwhile
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
    const after = await sandboxer.create({ profile });
    const { stdout } = await after.run(
      ['sh', '-c', 'for i in $(seq 60); do sleep 3 & done 2>/dev/null; ls -d /proc/[0-9]* | wc -l'],
      { timeout_ms: 10_000 },
    );
    expect(Number(stdout.trim() || 0)).toBeLessThanOrEqual(40);
    await before.destroy();
    await after.destroy();
  }, 60_000);
});

/** It may leave between any two looks, so there is one. */
function hasEnded(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch (error) {
    if (error instanceof Error && 'code' in error && ['ENOENT', 'ESRCH'].includes(String(error.code)))
      return true;
    throw error;
  }
}

describe('a killed agent', () => {
  it('is one clear sentence, and its sandbox is failed and cleaned up', async () => {
    const sandbox = await sandboxer.create({ profile: 'profile.local' });
    const box = join(home, 'extensions', 'ext.local', 'boxes', `sbx-${sandbox.id}`);
    const agent = Number(readFileSync(join(box, 'pid'), 'utf8').split(' ')[0]);
    process.kill(agent, 'SIGKILL');
    await until(() => hasEnded(agent), 5_000);
    await expect(sandbox.run(['true'])).rejects.toMatchObject({
      code: 'sandbox_unreachable',
      message: `The sandbox ${sandbox.id} ended by itself.`,
    });
    let { status } = await sandbox.refresh();
    for (let round = 0; round < 100 && status.failure?.cleaned_up === null; round += 1) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      ({ status } = await sandbox.refresh());
    }
    expect(status).toMatchObject({
      state: 'failed',
      failure: { cleaned_up: expect.stringContaining('removed') },
    });
    expect(existsSync(box)).toBe(false);
  });
});

describe('a profile that cannot be followed', () => {
  const refusals: [string, string, string, RegExp][] = [
    [
      'names an extension that is not installed',
      'extension: ext.nowhere',
      'unknown_extension',
      /ext\.nowhere, which is not installed/,
    ],
    [
      'needs an input that was not given',
      'extension: ext.local\ninputs: {repo: {required: true, description: the code}}',
      'missing_input',
      /needs repo \(the code\)/,
    ],
    ['asks for a network', 'extension: ext.local\nnetwork: {default: allow}', 'unsupported', /no network/],
    [
      'asks for a virtual machine',
      'extension: ext.local\nisolation: {level: vm}',
      'unsupported',
      /has no vm/,
    ],
  ];
  for (const [what, lines, code, sentence] of refusals) {
    it(`because it ${what} is refused, and leaves no record`, async () => {
      const text = `id: profile.refused\nversion: "1.0.0"\n${lines}\nttl: {default: 5m, max: 1h}\n`;
      writeFileSync(join(home, 'own', 'profile.refused.yaml'), text);
      const attempt = sandboxer.create({ profile: 'profile.refused' });
      await expect(attempt).rejects.toMatchObject({ code, message: expect.stringMatching(sentence) });
      expect((await sandboxer.list({ profile: 'profile.refused' })).items).toEqual([]);
    });
  }
});

describe('a limit that cannot be enforced', () => {
  it.runIf(!IS_ROOT)('is refused with the reason, or degraded and said so', async () => {
    const strict = writeProfile('strict', '{memory_mb: 64}');
    await expect(sandboxer.create({ profile: strict })).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringContaining('memory'),
    });
    const lenient = writeProfile('lenient', '{memory_mb: 64, allow_degraded: true}');
    const sandbox = await sandboxer.create({ profile: lenient });
    expect(sandbox.status.isolation.degraded[0]).toMatchObject({ rule: 'memory_mb' });
    await sandbox.destroy();
  });
});

describe("the dead man's switch (P5)", () => {
  it('ends everything at the deadline though broker and launcher were killed', async () => {
    const deadHome = mkdtempSync(join(tmpdir(), 'sbx-dead-'));
    const mark = canary();
    const script = `
      const { Sandboxer } = await import(${JSON.stringify(join(import.meta.dirname, '../../src/faces/library/index.ts'))});
      const sandboxer = await Sandboxer.connect();
      const sandbox = await sandboxer.create({ profile: 'profile.local', ttl: '1s' });
      await sandbox.run(['sh', '-c', 'sleep 300; : ${mark}'], { detach: true });
      process.kill(process.pid, 'SIGKILL');`;
    const broker = spawn(process.execPath, ['--input-type=module', '-e', script], {
      env: { PATH: process.env.PATH, SANDBOXER_HOME: deadHome },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    await new Promise((resolve) => broker.once('close', resolve));
    expect(processesWith(mark)).toBeGreaterThan(0);
    await until(() => processesWith(mark) === 0, 6_000);
    await using later = await Sandboxer.connect({
      environment: { PATH: process.env.PATH, SANDBOXER_HOME: deadHome },
    });
    const { results } = await later.transport.call('expire', { apply: true });
    expect(results).toMatchObject([{ cause: 'ttl', result: 'destroyed' }]);
    expect(readdirSync(join(deadHome, 'extensions', 'ext.local', 'boxes'))).toEqual([]);
    rmSync(deadHome, { recursive: true, force: true });
  }, 60_000);

  it('a broker that starts again adopts what still runs', async () => {
    const adoptHome = mkdtempSync(join(tmpdir(), 'sbx-adopt-'));
    const own = { PATH: process.env.PATH, SANDBOXER_HOME: adoptHome };
    const script = `
      const { Sandboxer } = await import(${JSON.stringify(join(import.meta.dirname, '../../src/faces/library/index.ts'))});
      const sandboxer = await Sandboxer.connect();
      const sandbox = await sandboxer.create({ profile: 'profile.local' });
      await sandbox.writeFile('/workspace/kept', 'kept');
      process.kill(process.pid, 'SIGKILL');`;
    try {
      execFileSync(process.execPath, ['--input-type=module', '-e', script], { env: own, stdio: 'ignore' });
    } catch {
      // it killed itself, as told
    }
    const later = await Sandboxer.connect({ environment: own });
    const { items } = await later.list();
    const sandbox = await later.get(items[0]!.sandbox_id);
    expect(Buffer.from(await sandbox.readFile('/workspace/kept')).toString()).toBe('kept');
    expect((await sandbox.destroy()).state).toBe('destroyed');
    await later.close();
    rmSync(adoptHome, { recursive: true, force: true });
  }, 60_000);
});
