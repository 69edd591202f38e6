import { randomBytes } from 'node:crypto';
import { connect as connectPath } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { IS_ROOT, shell, TestBench, type TestSandbox, waitUntil } from './sandbox.ts';

async function* pieces(...parts: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

async function readAll(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts);
}

const SERVER = `
const server = require('net').createServer({ allowHalfOpen: true }, (socket) => {
  socket.write('hello ');
  const parts = [];
  socket.on('data', (data) => parts.push(data));
  socket.on('end', () => socket.end(Buffer.concat(parts)));
});
server.listen(PORT, 'HOST', () => require('fs').writeFileSync('/workspace/ready-PORT', ''));
`;

describe('files and ports of a sandbox', () => {
  let bench: TestBench;
  let box: TestSandbox;

  beforeAll(async () => {
    bench = await TestBench.open();
    box = await bench.start();
  });
  afterAll(() => bench.close());

  it('writes and reads a file unchanged, with mode and parents', async () => {
    const content = randomBytes(3_000_000);
    const parts = pieces(content.subarray(0, 1), content.subarray(1, 900_000), content.subarray(900_000));
    const options = { makeParents: true, modeBits: 0o750 };
    expect(await box.agent.writeFile('/workspace/a/b/file', parts, options)).toBe(content.length);
    expect((await readAll(box.agent.readFile('a/b/file'))).equals(content)).toBe(true);
    expect(await box.agent.stat('/workspace/a/b/file')).toMatchObject({
      type: 'file',
      size: content.length,
      modeBits: 0o750,
      userId: 1000,
      groupId: 1000,
    });
    const part = await readAll(box.agent.readFile('a/b/file', { offset: 10, length: 100 }));
    expect(part.equals(content.subarray(10, 110))).toBe(true);
  });

  it('lists, makes and removes directories', async () => {
    await box.agent.makeDirectory('/workspace/list/deep', { makeParents: true });
    await box.agent.writeFile('/workspace/list/one', [Buffer.from('1')]);
    await shell(box.agent, 'ln -s one /workspace/list/link; mkfifo /workspace/list/pipe');
    const entries = await box.agent.listDirectory('/workspace/list');
    const types = Object.fromEntries(entries.map((entry) => [entry.name, entry.type]));
    expect(types).toEqual({ deep: 'directory', one: 'file', link: 'link', pipe: 'other' });
    expect((await box.agent.stat('/workspace/list/link')).link).toBe('one');
    await expect(box.agent.remove('/workspace/list')).rejects.toMatchObject({ code: 'exists' });
    await box.agent.remove('/workspace/list', { recursive: true });
    await expect(box.agent.stat('/workspace/list')).rejects.toMatchObject({ code: 'not_found' });
  });

  it('lists a directory with thousands of entries', async () => {
    await shell(box.agent, 'mkdir /tmp/many && cd /tmp/many && seq 3000 | xargs touch');
    expect(await box.agent.listDirectory('/tmp/many')).toHaveLength(3000);
  });

  it('removes what a link points from, never what it points to', async () => {
    await shell(
      box.agent,
      'mkdir -p /tmp/keep /tmp/gone; touch /tmp/keep/file; ln -s /tmp/keep /tmp/gone/link',
    );
    await box.agent.remove('/tmp/gone', { recursive: true });
    expect((await shell(box.agent, 'test -e /tmp/keep/file')).exitCode).toBe(0);
  });

  it('leaves every decision about rights to the kernel, as the user', async () => {
    await expect(box.agent.writeFile('/usr/file', [Buffer.from('x')])).rejects.toMatchObject({
      code: 'denied',
    });
    await expect(readAll(box.agent.readFile('/proc/1/environ'))).rejects.toMatchObject({ code: 'denied' });
    await expect(box.agent.makeDirectory('/home/x')).rejects.toMatchObject({ code: 'denied' });
    if (IS_ROOT) {
      await shell(box.agent, 'umask 077; echo secret > /root/secret', { user: 'root' });
      await expect(readAll(box.agent.readFile('/root/secret'))).rejects.toMatchObject({ code: 'denied' });
    }
    await expect(readAll(box.agent.readFile('../../../../../etc/shadow'))).rejects.toMatchObject({
      code: 'not_found',
    });
  });

  it('reports a failed write while the client still sends', async () => {
    const flood = Array.from({ length: 100 }, () => Buffer.alloc(200_000));
    await expect(box.agent.writeFile('/usr/file', flood)).rejects.toMatchObject({ code: 'denied' });
    await expect(box.agent.writeFile('/run/file', flood)).rejects.toMatchObject({ code: 'denied' });
    const overflow = Array.from({ length: 500 }, () => flood[0]!);
    await expect(box.agent.writeFile('/tmp/file', overflow)).rejects.toMatchObject({ code: 'limit' });
    await box.agent.remove('/tmp/file');
  });

  it('does not hang on a pipe or a device', async () => {
    await shell(box.agent, 'mkfifo /tmp/pipe');
    await expect(readAll(box.agent.readFile('/tmp/pipe'))).rejects.toMatchObject({ code: 'invalid' });
    await expect(box.agent.writeFile('/tmp/pipe', [Buffer.from('x')])).rejects.toMatchObject({
      code: 'invalid',
    });
    await expect(readAll(box.agent.readFile('/dev/zero'))).rejects.toMatchObject({ code: 'invalid' });
    await expect(readAll(box.agent.readFile('/tmp'))).rejects.toMatchObject({ code: 'invalid' });
  });

  it.each([
    ['127.0.0.1', 4001],
    ['::1', 4002],
  ])('forwards a port on %s both ways with half-close', async (host, port) => {
    const code = SERVER.replaceAll('PORT', String(port)).replace('HOST', host);
    await box.agent.exec({ argv: ['node', '-e', code], detach: true });
    await waitUntil(async () => (await shell(box.agent, `test -e ready-${port}`)).exitCode === 0, 10_000);
    const content = randomBytes(2_000_000);
    const socket = await box.agent.forward(port);
    socket.end(content);
    const answer = await readAll(socket);
    expect(answer.subarray(0, 6).toString()).toBe('hello ');
    expect(answer.subarray(6).equals(content)).toBe(true);
  });

  it('says when nothing answers on a port', async () => {
    await expect(box.agent.forward(9)).rejects.toMatchObject({ code: 'not_found' });
    await expect(box.agent.forward(70_000)).rejects.toMatchObject({ code: 'invalid' });
  });

  it('refuses a wrong token and a missing magic', async () => {
    const { connectAgent } = await import('../../src/extensions/local/native/agent-client.ts');
    const stranger = connectAgent({ socketPath: box.socketPath, token: randomBytes(32) });
    await expect(stranger.status()).rejects.toMatchObject({ code: 'unauthenticated' });
    const socket = connectPath(box.socketPath);
    socket.write('GET / HTTP/1.1\r\n\r\n');
    await new Promise((resolve) => socket.resume().once('close', resolve));
    expect((await box.agent.status()).protocolVersion).toBe(1);
  });

  it('tells a socket without an agent from other failures', async () => {
    const { connectAgent } = await import('../../src/extensions/local/native/agent-client.ts');
    const nobody = connectAgent({ socketPath: `${box.socketPath}.missing`, token: box.token });
    await expect(nobody.status()).rejects.toMatchObject({ code: 'unreachable' });
  });
});
