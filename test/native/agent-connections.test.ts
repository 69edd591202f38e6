/** Commands that follow each other share a connection, and nothing of one reaches the next. */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectAgent } from '../../src/extensions/local/native/agent-client.ts';
import { collect, processesInside, run, shell, TestBench, type TestSandbox, waitUntil } from './sandbox.ts';

const RESIDENT_KIB_MAX = 8 * 1024;

describe('a connection to the agent', () => {
  let bench: TestBench;
  let box: TestSandbox;
  beforeAll(async () => {
    bench = await TestBench.open();
    box = await bench.start();
  });
  afterAll(() => bench.close());

  /** The handler of a command, as seen inside. */
  const handler = async (options: { stdin?: 'pipe' } = {}) => {
    const session = await box.agent.exec({ argv: ['sh', '-c', 'echo $PPID'], ...options });
    if (options.stdin === 'pipe') session.closeInput();
    return (await collect(session)).text.trim();
  };

  it('carries one command after the other, and looks between them', async () => {
    const first = await handler();
    expect((await box.agent.status()).processes).toBe(1);
    expect(await handler()).toBe(first);
  });

  it('carries no other command after one that takes input or sees a terminal', async () => {
    const withInput = await handler({ stdin: 'pipe' });
    expect(await handler()).not.toBe(withInput);
    const tty = { columns: 80, rows: 24 };
    const onTerminal = (await run(box.agent, ['sh', '-c', 'echo $PPID'], { tty })).text.trim();
    expect(await handler()).not.toBe(onTerminal);
  });

  it('is not used by two commands at once', async () => {
    const both = await Promise.all([handler(), handler(), handler()]);
    expect(new Set(both).size).toBe(3);
  });

  it('is ended when nothing more comes, by the client', async () => {
    await handler();
    await waitUntil(() => processesInside(box).length === 1);
  });

  it('is ended by the agent where the client keeps it, and the next command finds a new one', async () => {
    const never = { sleep: () => new Promise<void>(() => {}), after: () => () => {}, nowMs: () => 0 };
    const clock = { ...never, monotonicMs: () => 0 };
    const keeper = connectAgent({ socketPath: box.socketPath, token: box.token, clock });
    await run(keeper, ['true']);
    await waitUntil(() => processesInside(box).length === 1);
    expect((await run(keeper, ['true'])).exitCode).toBe(0);
    keeper.close();
  });

  it('is not reused after input was ended, closed or resized on a command that takes none', async () => {
    for (let count = 0; count < 50; count += 1) {
      const session = await box.agent.exec({ argv: ['true'] });
      session.closeInput();
      session.resize(10, 10);
      const [, next] = await Promise.all([session.write(Buffer.from('x')), session.exit]);
      session.closeInput();
      expect(next.exitCode).toBe(0);
      expect((await run(box.agent, ['echo', 'ok'])).text).toBe('ok\n');
    }
  });

  it('may be given up in the middle: the command dies and the next one is not disturbed', async () => {
    const session = await box.agent.exec({ argv: ['sleep', '60'] });
    session.close();
    expect((await shell(box.agent, 'echo ok')).text).toBe('ok\n');
    await waitUntil(async () => (await box.agent.status()).processes === 1);
  });

  it('gathers neither memory nor descriptors in its handler', async () => {
    const ballast = 'x'.repeat(100_000);
    for (let count = 0; count < 200; count += 1)
      await run(box.agent, ['true', ballast], { env: { ballast } });
    const inside = processesInside(box).slice(1);
    expect(inside.length).toBeGreaterThan(0);
    for (const pid of inside) {
      const resident = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
      expect(Number(resident)).toBeLessThan(RESIDENT_KIB_MAX);
      if (process.getuid?.() === 0) expect(readdirSync(`/proc/${pid}/fd`).length).toBeLessThan(10);
    }
  });
});
