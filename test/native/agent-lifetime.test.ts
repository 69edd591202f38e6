import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectAgent } from '../../src/extensions/local/native/agent-client.ts';
import { Launcher } from '../../src/extensions/local/native/launcher.ts';
import { IS_ROOT, isAlive, processesInside, run, shell, TestBench, waitUntil } from './sandbox.ts';

/** What other processes of this user can read; pid 1 inside is closed to all but root. */
function readEnvironment(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1');
  } catch (error) {
    expect(error).toMatchObject({ code: 'EACCES' });
    return '';
  }
}

/** A cgroup stays busy for a moment after its last process. */
function isRemoved(group: string): boolean {
  try {
    rmdirSync(group);
    return true;
  } catch {
    return false;
  }
}

describe('the life of a sandbox', () => {
  let bench: TestBench;

  beforeAll(async () => {
    bench = await TestBench.open();
  });
  afterAll(() => bench.close());

  it('ends at its deadline although launcher and client are gone', async () => {
    const launcher = new Launcher({ agentPath: bench.agentPath });
    const box = await bench.start({ deadlineMs: 700 }, launcher);
    await box.agent.exec({ argv: ['sleep', '100'], detach: true });
    const inside = processesInside(box);
    expect(inside.length).toBeGreaterThan(1);
    process.kill(launcher.pid!, 'SIGKILL');
    await waitUntil(() => launcher.pid === undefined);
    expect(isAlive(box.pid)).toBe(true);
    expect((await run(box.agent, ['true'])).exitCode).toBe(0);
    await waitUntil(() => !isAlive(box.pid) && inside.every((pid) => !isAlive(pid)), 3000);
    await expect(box.agent.status()).rejects.toMatchObject({ code: 'unreachable' });
  });

  it('starts sandboxes again after the launcher was killed', async () => {
    const launcher = new Launcher({ agentPath: bench.agentPath });
    const first = await bench.start({}, launcher);
    process.kill(launcher.pid!, 'SIGKILL');
    await waitUntil(() => launcher.pid === undefined);
    const second = await bench.start({}, launcher);
    expect((await run(first.agent, ['true'])).exitCode).toBe(0);
    expect((await run(second.agent, ['true'])).exitCode).toBe(0);
    await launcher.close();
  });

  it('is a child of the launcher, who takes its end and tells of it', async () => {
    const box = await bench.start();
    const ended = new Promise<void>((resolve) => bench.launcher.onEnd(box.pid, resolve));
    process.kill(box.pid, 'SIGKILL');
    await ended;
    expect(existsSync(`/proc/${box.pid}`)).toBe(false);
  });

  it('grants a later deadline up to the cap and never beyond', async () => {
    const box = await bench.start({ deadlineMs: 5000, capMs: 20_000 });
    expect(await box.agent.setDeadline(10_000)).toBe(10_000);
    const granted = await box.agent.setDeadline(1_000_000_000);
    expect(granted).toBeGreaterThan(19_000);
    expect(granted).toBeLessThanOrEqual(20_000);
    const status = await box.agent.status();
    expect(status.deadlineRemainingMs).toBe(status.capRemainingMs);
    expect(await box.agent.setDeadline(100)).toBe(100);
    await waitUntil(() => !isAlive(box.pid), 2000);
  });

  it('starts with a deadline beyond the cap cut to the cap', async () => {
    const box = await bench.start({ deadlineMs: 60_000, capMs: 400 });
    await waitUntil(() => !isAlive(box.pid), 2000);
  });

  it('ends on request', async () => {
    const box = await bench.start();
    await box.agent.shutdown();
    await waitUntil(() => !isAlive(box.pid));
  });

  it('ends with its first process, and with everything in the background', async () => {
    const box = await bench.start();
    await shell(box.agent, 'setsid sleep 100 & setsid sleep 100 & wait -n; true', { timeoutMs: 200 });
    const inside = processesInside(box);
    process.kill(box.pid, 'SIGKILL');
    await waitUntil(() => inside.every((pid) => !isAlive(pid)));
  });

  it('leaves the process id with its start time', async () => {
    const box = await bench.start();
    const [pid, start] = readFileSync(join(box.directory, 'pid'), 'utf8').trim().split(' ').map(Number);
    const text = readFileSync(`/proc/${box.pid}/stat`, 'utf8');
    expect(pid).toBe(box.pid);
    expect(start).toBe(Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[19]));
  });

  it('shows neither arguments nor token to other processes', async () => {
    const box = await bench.start();
    const token = Buffer.from(box.token).toString('latin1');
    for (const pid of processesInside(box)) {
      const arguments_ = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
      expect(arguments_).toMatch(/^sandboxer-agent\0agent\0$/);
      expect(arguments_).not.toContain(token);
      expect(readEnvironment(pid)).toMatch(/^(PWD=\/\0)?$/);
    }
  });

  it('does not count STATUS and SET_DEADLINE as activity, but a command', async () => {
    const box = await bench.start();
    await new Promise((resolve) => setTimeout(resolve, 150));
    await box.agent.setDeadline(50_000);
    expect((await box.agent.status()).idleMs).toBeGreaterThanOrEqual(100);
    await run(box.agent, ['true']);
    const status = await box.agent.status();
    expect(status.idleMs).toBeLessThan(90);
    expect(status).toMatchObject({ commandsTotal: 1, sessionsRunning: 0 });
  });

  it('launches twenty sandboxes asked for at once', async () => {
    const boxes = await Promise.all(Array.from({ length: 20 }, () => bench.start()));
    const results = await Promise.all(boxes.map((box) => run(box.agent, ['true'])));
    expect(results.every((result) => result.exitCode === 0)).toBe(true);
    await Promise.all(boxes.map((box) => box.agent.shutdown()));
  });

  it('takes a socket path longer than a socket address', async () => {
    const directory = join(bench.base, 'x'.repeat(120));
    const box = await bench.start({ directory });
    const client = connectAgent({ socketPath: box.socketPath, token: box.token });
    expect((await client.status()).protocolVersion).toBe(1);
  });

  it('says why a launch failed', async () => {
    const request = bench.request();
    const steps = [...request.boxSteps, 'R\0usr\0/missing/directory'];
    await expect(bench.launcher.launch({ ...request, boxSteps: steps })).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining('open what is shown inside'),
    });
    await expect(
      bench.launcher.launch({ ...request, cgroupFiles: ['/missing/cgroup.procs'] }),
    ).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining('cgroup'),
    });
    await expect(
      bench.launcher.launch({ ...request, identity: { mode: 'ranged', base: 0 } }),
    ).rejects.toMatchObject({ code: 'invalid' });
  });

  it('limits the processes of its user without a cgroup', async () => {
    const box = await bench.start({ processLimit: 30 });
    const bomb = 'i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done';
    expect((await shell(box.agent, bomb, { timeoutMs: 1500 })).stderr.toString()).toMatch(/fork/i);
    expect((await box.agent.status()).processes).toBeLessThan(40);
  });

  it('starts when the file mode mask and the directories are closed to others', async () => {
    const before = process.umask(0o077);
    try {
      const closed = await TestBench.open();
      const box = await closed.start();
      expect((await shell(box.agent, 'cat /etc/passwd && touch /workspace/x')).exitCode).toBe(0);
      await closed.close();
    } finally {
      process.umask(before);
    }
  });

  it.runIf(IS_ROOT)('joins its cgroups before anything runs inside', async () => {
    const group = `/sys/fs/cgroup/pids/sandbox-native-test-${process.pid}`;
    mkdirSync(group);
    try {
      writeFileSync(join(group, 'pids.max'), '40');
      const box = await bench.start({ cgroupFiles: [join(group, 'cgroup.procs')] });
      const bomb = 'i=0; while [ $i -lt 200 ]; do sleep 9 & i=$((i+1)); done';
      const result = await shell(box.agent, bomb, { timeoutMs: 1000 });
      expect(result.stderr.toString()).toMatch(/fork/i);
      process.kill(box.pid, 'SIGKILL');
    } finally {
      await waitUntil(() => isRemoved(group));
    }
  });
});
