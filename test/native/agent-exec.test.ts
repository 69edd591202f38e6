import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { collect, IS_ROOT, run, shell, TestBench, type TestSandbox, waitUntil } from './sandbox.ts';

describe('commands in a sandbox', () => {
  let bench: TestBench;
  let box: TestSandbox;

  beforeAll(async () => {
    bench = await TestBench.open();
    box = await bench.start({ logLimitBytes: 100_000 });
  });
  afterAll(() => bench.close());

  it('reports the exit code and keeps both streams apart', async () => {
    const result = await shell(box.agent, 'echo out; echo err >&2; exit 37');
    expect(result).toMatchObject({ exitCode: 37, signal: null, timedOut: false, outputTruncated: false });
    expect(result.text).toBe('out\n');
    expect(result.stderr.toString()).toBe('err\n');
  });

  it('reports the signal that ended a command', async () => {
    expect(await shell(box.agent, 'kill -TERM $$')).toMatchObject({ exitCode: 143, signal: 15 });
  });

  it('signals a running command, even when its input is stuck', async () => {
    const session = await box.agent.exec({ argv: ['sleep', '60'], stdin: 'pipe' });
    const stuck = session.write(Buffer.alloc(4_000_000)).catch(() => undefined);
    await session.signal(15);
    expect(await collect(session)).toMatchObject({ signal: 15 });
    await stuck;
  });

  it('rejects a missing program, a program without the right and a missing working directory', async () => {
    await expect(run(box.agent, ['no-such-program'])).rejects.toMatchObject({ code: 'not_found' });
    await expect(run(box.agent, ['/etc/passwd'])).rejects.toMatchObject({ code: 'denied' });
    await expect(run(box.agent, ['true'], { cwd: '/missing' })).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining('working directory'),
    });
    await expect(run(box.agent, [])).rejects.toMatchObject({ code: 'invalid' });
    await expect(run(box.agent, ['a\0b'])).rejects.toMatchObject({ code: 'invalid' });
  });

  it('gives a small environment plus what was asked for, and nothing of the host', async () => {
    const result = await run(box.agent, ['env'], { env: { ANSWER: '42', PATH: '/usr/bin' } });
    expect(result.text.trim().split('\n').sort()).toEqual([
      'ANSWER=42',
      'HOME=/home/user',
      'LANG=C.UTF-8',
      'PATH=/usr/bin',
      'USER=user',
    ]);
    expect((await run(box.agent, ['pwd'])).text).toBe('/workspace\n');
  });

  it('carries ten megabytes through input and output unchanged', async () => {
    const sent = randomBytes(10_000_000);
    const session = await box.agent.exec({ argv: ['cat'], stdin: 'pipe' });
    const writing = session.write(sent).then(() => session.closeInput());
    const result = await collect(session);
    await writing;
    expect(result.exitCode).toBe(0);
    expect(createHash('sha256').update(result.stdout).digest('hex')).toBe(
      createHash('sha256').update(sent).digest('hex'),
    );
  });

  it('does not fail a writer whose command stopped reading', async () => {
    const session = await box.agent.exec({ argv: ['head', '-c', '3'], stdin: 'pipe' });
    const writing = session.write(Buffer.alloc(3_000_000, 'x'));
    expect((await collect(session)).text).toBe('xxx');
    await writing;
  });

  it('runs a command on a terminal that follows a resize', async () => {
    const session = await box.agent.exec({
      argv: ['sh', '-c', 'test -t 0 && stty size; read line; stty size; echo "got $line"; echo $TERM'],
      tty: { columns: 91, rows: 31 },
    });
    let text = '';
    let isResized = false;
    for await (const { data } of session.output) {
      text += Buffer.from(data).toString();
      if (!isResized && text.includes('31 91')) {
        isResized = true;
        session.resize(77, 22);
        await session.write(Buffer.from('hello\n'));
      }
    }
    expect(text).toContain('22 77');
    expect(text).toContain('got hello');
    expect(text).toContain('xterm');
    expect((await session.exit).exitCode).toBe(0);
  });

  it('ends the input of a terminal', async () => {
    const session = await box.agent.exec({ argv: ['cat'], tty: { columns: 80, rows: 24 } });
    session.closeInput();
    expect((await collect(session)).exitCode).toBe(0);
  });

  it('kills the whole process group at the timeout', async () => {
    const result = await shell(box.agent, 'sleep 301 & sleep 302', { timeoutMs: 150 });
    expect(result).toMatchObject({ exitCode: 137, signal: 9, timedOut: true });
    expect((await shell(box.agent, 'cat /proc/[0-9]*/cmdline | tr "\\0" " "')).text).not.toContain(
      'sleep 30',
    );
  });

  it('cuts output at the limit, says so, and lets the command go on', async () => {
    const script = 'head -c 1000000 /dev/zero; touch /workspace/went-on';
    const result = await shell(box.agent, script, { outputLimitBytes: 5000 });
    expect(result.stdout.length).toBe(5000);
    expect(result).toMatchObject({ exitCode: 0, outputTruncated: true });
    expect((await shell(box.agent, 'test -e /workspace/went-on')).exitCode).toBe(0);
  });

  it('delivers everything the command wrote although a background process holds its pipes', async () => {
    const result = await shell(box.agent, 'sleep 20 & head -c 3000000 /dev/zero; echo done');
    expect(result.stdout.length).toBe(3_000_005);
    expect(result.exitCode).toBe(0);
  });

  it('runs fifty commands at once', async () => {
    const numbers = Array.from({ length: 50 }, (_, index) => index);
    const results = await Promise.all(numbers.map((number) => shell(box.agent, `sleep 0.2; echo ${number}`)));
    expect(results.map((result) => result.text.trim())).toEqual(numbers.map(String));
  });

  it('kills a command whose client is gone', async () => {
    const session = await box.agent.exec({ argv: ['sleep', '4711'] });
    session.close();
    await expect(session.exit).rejects.toMatchObject({ code: 'disconnected' });
    const list = () => shell(box.agent, 'cat /proc/[0-9]*/cmdline | tr "\\0" " "');
    await waitUntil(async () => !(await list()).text.includes('sleep 4711'));
  });

  it('kills the jobs of a terminal whose client is gone, whatever they ignore', async () => {
    const script = 'set -m; sh -c "trap : HUP TERM; exec sleep 4712" & echo started; wait';
    const session = await box.agent.exec({ argv: ['bash', '-c', script], tty: { columns: 80, rows: 24 } });
    for await (const { data } of session.output) if (Buffer.from(data).includes('started')) break;
    session.close();
    const list = () => shell(box.agent, 'cat /proc/[0-9]*/cmdline | tr "\\0" " "');
    await waitUntil(async () => !(await list()).text.includes('sleep 4712'));
  });

  it('stops a command by an abort signal', async () => {
    const abort = new AbortController();
    const session = await box.agent.exec({ argv: ['sleep', '60'], signal: abort.signal });
    abort.abort();
    await expect(session.exit).rejects.toMatchObject({ code: 'aborted' });
    await expect(collect(session)).rejects.toMatchObject({ code: 'aborted' });
  });

  it('lets a detached command outlive its client, with its output in the bounded log', async () => {
    const script = 'echo started; head -c 300000 /dev/zero; sleep 0.1; touch /workspace/detached; sleep 60';
    const session = await box.agent.exec({ argv: ['sh', '-c', script], detach: true });
    await waitUntil(async () => (await shell(box.agent, 'test -e /workspace/detached')).exitCode === 0);
    const log = readFileSync(join(box.directory, 'sandbox.log'));
    expect(log.subarray(0, 8).toString()).toBe('started\n');
    expect(log.length).toBe(100_000);
    expect((await box.agent.status()).detachedRunning).toBe(1);
    await session.signal(9);
    await waitUntil(async () => (await box.agent.status()).detachedRunning === 0);
  });

  it('collects orphans, so that no zombie stays', async () => {
    const fresh = await bench.start();
    await shell(fresh.agent, 'for i in 1 2 3 4 5; do (sh -c "sleep 0.1 &" &) ; done');
    await waitUntil(async () => (await fresh.agent.status()).processes === 1);
    expect((await shell(fresh.agent, 'cat /proc/[0-9]*/stat | grep -c ") Z"')).text.trim()).toBe('0');
  });

  it('keeps its memory small while a slow reader takes 200 MB', async () => {
    const session = await box.agent.exec({ argv: ['head', '-c', '200000000', '/dev/zero'] });
    let total = 0;
    let highest = 0;
    let next = 0;
    for await (const { data } of session.output) {
      total += data.byteLength;
      if (total < next) continue;
      next = total + 20_000_000;
      await new Promise((resolve) => setTimeout(resolve, 20));
      highest = Math.max(highest, (await box.agent.status()).memoryBytes);
    }
    expect(total).toBe(200_000_000);
    expect(highest).toBeLessThan(16_000_000);
    expect((await box.agent.status()).agentMemoryBytes).toBeLessThan(1_048_576);
  });

  it.runIf(IS_ROOT)(
    'runs as root inside on request, with few capabilities and no rights outside',
    async () => {
      const result = await shell(
        box.agent,
        'id -u; grep CapEff /proc/self/status; echo x > /root/file && cat /root/file',
        {
          user: 'root',
        },
      );
      expect(result.text).toBe('0\nCapEff:\t00000000000000eb\nx\n');
      expect((await shell(box.agent, 'mount -t tmpfs none /tmp', { user: 'root' })).exitCode).not.toBe(0);
      expect((await shell(box.agent, 'cat /root/file')).exitCode).not.toBe(0);
    },
  );

  it.runIf(!IS_ROOT)('refuses root where the sandbox has one user only', async () => {
    await expect(run(box.agent, ['id'], { user: 'root' })).rejects.toMatchObject({ code: 'unsupported' });
  });
});
