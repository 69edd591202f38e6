import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Bench, type Running } from './harness.ts';
import { plain } from './patterns.ts';

const bench = new Bench();
const slow = bench.simulated('slow', '{startMs: 1500}');
const running = new Set<Running>();
let id: string;

beforeAll(async () => {
  id = await bench.create('--profile', 'profile.local');
});
afterEach(async () => {
  for (const server of running) {
    server.process.kill('SIGKILL');
    await server.ended;
  }
  running.clear();
});
afterAll(() => bench.clear());

interface Serving {
  readonly url: string;
  readonly socket: string;
  readonly token_file: string;
  readonly pid: number;
}

async function serve(...words: string[]): Promise<{ readonly server: Running; readonly serving: Serving }> {
  const server = bench.start(['serve', '--port', '0', ...words]);
  running.add(server);
  const [line] = await server.printed(/^.*"message":"serving".*$/m);
  return { server, serving: JSON.parse(line) as Serving };
}

test('says where it is, serves with the token, and stops cleanly', async () => {
  const { server, serving } = await serve();
  const token = readFileSync(serving.token_file, 'utf8').trim();
  expect(statSync(serving.token_file).mode & 0o777).toBe(0o600);
  const remote = { SANDBOXER_HOME: undefined, SANDBOXER_URL: serving.url, SANDBOXER_TOKEN: token };
  const listed = await bench.run(['list'], { environment: remote });
  expect(JSON.parse(listed.stdout)).toMatchObject({ items: [{ sandbox_id: id }] });
  const wrong = await bench.run(['list'], { environment: { ...remote, SANDBOXER_TOKEN: 'nonsense' } });
  expect(wrong.code).toBe(3);
  server.process.kill('SIGTERM');
  expect((await server.ended).code).toBe(0);
  expect((await bench.run(['list'])).code).toBe(0);
});

test('a second one on the same home is refused, naming the first', async () => {
  const { serving } = await serve();
  const { code, stderr } = await bench.run(['serve', '--port', '0']);
  expect(code).toBe(9);
  expect(stderr).toContain(`process ${serving.pid} is using ${bench.home}`);
});

test('commands go through it: streams, exit codes, files, ports of the same kind as without', async () => {
  const { serving } = await serve();
  expect(existsSync(serving.socket)).toBe(true);
  const ran = await bench.run(['exec', id, '--', 'sh', '-c', 'cat; echo err >&2; exit 6'], {
    stdin: 'typed',
  });
  expect(ran).toMatchObject({ code: 6, stdout: 'typed', stderr: 'err\n' });
  await bench.run(['cp', '-', `${id}:/workspace/f`], { stdin: 'through' });
  expect((await bench.run(['cp', `${id}:/workspace/f`, '-'])).stdout).toBe('through');
  const missing = await bench.run(['get', 'nosuchid00']);
  expect([missing.code, missing.stderr]).toEqual([4, expect.stringContaining('There is no sandbox')]);
  const made = await bench.inTerminal(['create', '--profile', 'profile.simulated']).ended;
  expect(plain(made.stdout)).toMatch(/● ready/);
});

test('Ctrl-C during a create takes it back at the server too', async () => {
  await serve();
  const creating = bench.inTerminal(['create', '--profile', slow]);
  await creating.printed(/provisioning|waiting/);
  creating.type('\u0003');
  const { code, stdout } = await creating.ended;
  expect(code).toBe(130);
  expect(plain(stdout)).toMatch(/Cancelled; the sandbox [0-9a-z]{10} was removed/);
});

test('a server that dies during a create: the client says what was begun and how to look', async () => {
  const { server } = await serve();
  const creating = bench.inTerminal(['create', '--profile', slow]);
  await creating.printed(/provisioning|waiting/);
  server.process.kill('SIGKILL');
  const { code, stdout } = await creating.ended;
  expect(code).toBe(9);
  const begun = /The sandbox ([0-9a-z]{10}) was begun there/.exec(plain(stdout))?.[1];
  expect(plain(stdout)).toContain(`sandboxer get ${begun}`);
  expect((await bench.run(['destroy', begun!])).code).toBe(0);
});

test('after kill -9 the socket is stale, and commands work by themselves', async () => {
  const { server, serving } = await serve();
  server.process.kill('SIGKILL');
  await server.ended;
  expect(existsSync(serving.socket)).toBe(true);
  const ran = await bench.run(['exec', id, '--', 'echo', 'alive']);
  expect(ran).toMatchObject({ code: 0, stdout: 'alive\n' });
  await serve();
});

test('events --follow streams from a server, and without one leaves the home to others', async () => {
  for (const served of [true, false]) {
    if (served) await serve();
    const other = await bench.create('--profile', 'profile.simulated');
    const following = bench.start(['events', other, '--follow']);
    await following.printed(/ready_proven/);
    expect((await bench.run(['destroy', other])).code).toBe(0);
    const { code, stdout } = await following.ended;
    expect(code).toBe(0);
    const kinds = stdout
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { type: string }).type);
    expect(kinds).toEqual(expect.arrayContaining(['requested', 'ready_proven', 'absence_proven']));
    for (const server of running) {
      server.process.kill('SIGTERM');
      await server.ended;
    }
    running.clear();
  }
});

test('on a terminal it says where it serves in words', async () => {
  const server = bench.inTerminal(['serve', '--port', '0']);
  await server.printed(/serves .*http:\/\/127\.0\.0\.1:\d+/);
  await server.printed(/stop/);
  server.type('\u0003');
  const { code, stdout } = await server.ended;
  expect(code).toBe(0);
  expect(plain(stdout)).toContain(join(bench.home, 'sandboxer.sock'));
});
