/** Sessions over a server: bytes in order and complete, whatever their size; a server that stops lets go. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, get, type IncomingMessage } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Sandbox, Sandboxer } from '../../../src/faces/library/index.ts';
import { type HttpBench, openHttpBench } from './bench.ts';

let bench: HttpBench;
let client: Sandboxer;
let sandbox: Sandbox;
beforeAll(async () => {
  bench = await openHttpBench();
  client = await bench.client(bench.operatorToken);
  sandbox = await client.create({ profile: 'profile.local' });
});
afterAll(async () => {
  await client.close();
  await bench[Symbol.asyncDispose]();
});
const digest = (data: Uint8Array | string) => createHash('sha256').update(data).digest('hex');

describe('standard input', () => {
  for (const bytes of [0, 1, 262_144, 262_145, 300_000, 1_048_577, 5_000_000]) {
    it(`of ${bytes} bytes arrives whole`, async () => {
      const input = randomBytes(bytes);
      const { stdout } = await sandbox.run(['sha256sum'], { stdin: input });
      expect(stdout.slice(0, 64)).toBe(digest(input));
    });
  }

  it('in many writes that nobody waits for keeps its order', async () => {
    const session = await sandbox.start(['sha256sum'], { stdin: true });
    const pieces = Array.from({ length: 20 }, () => randomBytes(300_000));
    for (const piece of pieces) void session.write(piece);
    session.closeInput();
    let stdout = '';
    for await (const { data } of session.output) stdout += Buffer.from(data).toString();
    expect(stdout.slice(0, 64)).toBe(digest(Buffer.concat(pieces)));
    session.close();
  });

  it('that a plain POST says is open, and never gives, is closed', async () => {
    const answer = await bench.request(`/v1/sandboxes/${sandbox.id}/exec`, {
      method: 'POST',
      body: JSON.stringify({ command: ['cat'], stdin: true }),
    });
    expect(await answer.json()).toMatchObject({ exit_code: 0, stdout: '' });
  });
});

describe('output', () => {
  it('of both streams arrives whole and apart', async () => {
    const { stdout, stderr } = await sandbox.run([
      'sh',
      '-c',
      'head -c 3000000 /dev/zero | tr "\\0" a; head -c 3000000 /dev/zero | tr "\\0" b >&2',
    ]);
    expect([digest(stdout), digest(stderr)]).toEqual([digest('a'.repeat(3e6)), digest('b'.repeat(3e6))]);
  });
});

describe('archives', () => {
  it('of what is not there are refused in words, before an answer begins', async () => {
    await expect(sandbox.readArchive('/workspace/missing')).rejects.toMatchObject({
      code: 'invalid_input',
      message: expect.stringContaining('nothing at that path'),
    });
  });

  it('that fail in the middle are cut off, and are told as that', async () => {
    await sandbox.run(['sh', '-c', 'mkdir half && head -c 3000000 /dev/zero >half/a && ln -s none half/z']);
    await sandbox.run(['sh', '-c', 'head -c 9 /dev/zero >half/b && chmod 0 half/b']);
    const read = async () => {
      for await (const _ of await sandbox.readArchive('/workspace/half'));
    };
    await expect(read()).rejects.toMatchObject({
      code: 'server_unreachable',
      message: expect.stringContaining('broke its answer off'),
    });
  });
});

describe('files', () => {
  it('with times no calendar knows are listed', async () => {
    await sandbox.run(['sh', '-c', 'mkdir -p far && touch -d @8640000000001 far/file']);
    const listed = await client.transport.call('list_files', { id: sandbox.id, path: '/workspace/far' });
    expect(listed.entries.map(({ name }) => name)).toEqual(['file']);
  });
});

describe('downloads', () => {
  it('follow each other on one connection, whole, and leave it open', async () => {
    const content = randomBytes(300_000);
    await sandbox.writeFile('/workspace/data', content);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const path = `/v1/sandboxes/${sandbox.id}/files?path=/workspace/data`;
    const headers = { authorization: `Bearer ${bench.operatorToken}` };
    for (let round = 0; round < 10; round += 1) {
      const request = get(new URL(path, bench.server.url), { agent, headers });
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      const chunks: Uint8Array[] = [];
      for await (const chunk of response) chunks.push(chunk as Uint8Array);
      expect(digest(Buffer.concat(chunks))).toBe(digest(content));
      expect(request.reusedSocket, `round ${round}`).toBe(round > 0);
      await new Promise((resolve) => setImmediate(resolve));
    }
    agent.destroy();
    expect(bench.logged.join('')).not.toContain('ERR_HTTP');
  });
});

describe('a server that stops', () => {
  it('does not wait for open sessions', async () => {
    const other = await openHttpBench();
    const visitor = await other.client(other.operatorToken);
    const box = await visitor.create({ profile: 'profile.local' });
    const session = await box.start(['sleep', '100']);
    const beganAtMs = performance.now();
    await other[Symbol.asyncDispose]();
    expect(performance.now() - beganAtMs).toBeLessThan(5_000);
    await expect(session.exit).rejects.toMatchObject({ code: 'sandbox_unreachable' });
    await visitor.close();
  });
});
