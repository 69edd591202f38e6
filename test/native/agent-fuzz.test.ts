import { randomInt } from 'node:crypto';
import { connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  encodeFrame,
  FIELD,
  type Field,
  FRAME,
  PROTOCOL_MAGIC,
  PROTOCOL_VERSION,
} from '../../src/extensions/local/native/wire.ts';
import { run, TestBench, type TestSandbox, waitUntil } from './sandbox.ts';

/** Sends bytes and waits until the agent ends the connection, at most a moment. */
function throwAt(socketPath: string, data: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.on('error', () => undefined);
    socket.once('close', () => resolve());
    socket.resume();
    socket.end(data);
  });
}

const REQUESTS = [
  FRAME.STATUS,
  FRAME.SET_DEADLINE,
  FRAME.EXEC,
  FRAME.READ_FILE,
  FRAME.WRITE_FILE,
  FRAME.LIST_DIRECTORY,
  FRAME.STAT,
  FRAME.MAKE_DIRECTORY,
  FRAME.REMOVE,
  FRAME.FORWARD,
  FRAME.SIGNAL_COMMAND,
  FRAME.DATA,
  FRAME.END,
  FRAME.STDIN,
  FRAME.RESIZE,
  200,
];

describe('hostile bytes', () => {
  let bench: TestBench;
  let box: TestSandbox;

  beforeAll(async () => {
    bench = await TestBench.open();
    box = await bench.start();
  });
  afterAll(() => bench.close());

  const hello = (token = box.token) =>
    Buffer.concat([
      Buffer.from(PROTOCOL_MAGIC),
      encodeFrame(FRAME.HELLO, [
        [FIELD.VERSION, PROTOCOL_VERSION],
        [FIELD.TOKEN, token],
      ]),
    ]);

  const stillAnswers = async () => {
    await waitUntil(async () => (await box.agent.status()).processes === 1, 10_000);
    expect((await run(box.agent, ['true'])).exitCode).toBe(0);
  };

  it('never stop the agent when they come without a token', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), fc.boolean(), async (noise, isMagic) => {
        const start = isMagic ? Buffer.from(PROTOCOL_MAGIC) : Buffer.alloc(0);
        await throwAt(box.socketPath, Buffer.concat([start, noise]));
      }),
      { numRuns: 500 },
    );
    await stillAnswers();
  }, 30_000);

  const value = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.nat(),
    fc.constantFrom('/workspace/fuzz', '/tmp', '/proc/self/mem', 'true', 'A=1', 'user', '\0', '../../..'),
  );
  const field = fc.tuple(fc.integer({ min: 1, max: 75 }), value);

  it('never stop the agent as requests with any fields', async () => {
    const requests = fc.array(fc.tuple(fc.constantFrom(...REQUESTS), fc.array(field, { maxLength: 8 })), {
      minLength: 1,
      maxLength: 3,
    });
    await fc.assert(
      fc.asyncProperty(requests, async (list) => {
        const frames = list.map(([type, fields]) => encodeFrame(type, fields.filter(isHarmless)));
        await throwAt(box.socketPath, Buffer.concat([hello(), ...frames]));
      }),
      { numRuns: 800 },
    );
    await stillAnswers();
  }, 30_000);

  it('never stop the agent as good requests with broken bytes', async () => {
    const good = encodeFrame(FRAME.EXEC, [
      [FIELD.ARGUMENT, 'cat'],
      [FIELD.ENVIRONMENT, 'NAME=value'],
      [FIELD.STDIN, true],
      [FIELD.TIMEOUT_MS, 500],
    ]);
    const whole = Buffer.concat([
      hello(),
      good,
      encodeFrame(FRAME.STDIN, [[1, 'input']]),
      encodeFrame(FRAME.STDIN_EOF),
    ]);
    for (let round = 0; round < 800; round++) {
      const copy = Buffer.from(whole.subarray(0, randomInt(1, whole.length + 1)));
      for (let flip = 0; flip < 3; flip++) copy[randomInt(copy.length)] = randomInt(256);
      await throwAt(box.socketPath, copy);
    }
    await stillAnswers();
  }, 30_000);

  it('meet a limit on how many connections are handled at once', async () => {
    const small = await bench.start({ maxSessions: 4 });
    const idle = Array.from({ length: 4 }, () => connect(small.socketPath));
    await Promise.all(idle.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
    await waitUntil(async () => {
      try {
        await small.agent.status();
        return false;
      } catch (error) {
        return (error as { code?: string }).code === 'busy';
      }
    });
    for (const socket of idle) socket.destroy();
    await waitUntil(async () => {
      try {
        return (await small.agent.status()).protocolVersion === 1;
      } catch {
        return false;
      }
    });
  });

  it('lose the connection when the handshake takes too long', async () => {
    const began = performance.now();
    await new Promise((resolve) => {
      const socket = connect(box.socketPath);
      socket.resume().once('close', resolve);
      socket.write(PROTOCOL_MAGIC);
    });
    expect(performance.now() - began).toBeGreaterThan(4500);
    expect(performance.now() - began).toBeLessThan(8000);
  }, 10_000);
});

/** A deadline in the fuzz would end the sandbox as it should. */
function isHarmless(field: Field): boolean {
  return field[0] !== FIELD.REMAINING_MS;
}
