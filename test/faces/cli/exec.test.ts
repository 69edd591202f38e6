import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Bench } from './harness.ts';
import { plain } from './patterns.ts';

const bench = new Bench();
let id: string;
beforeAll(async () => {
  id = await bench.create('--profile', 'profile.local');
});
afterAll(() => bench.clear());

const exec = (...words: string[]) => bench.run(['exec', id, ...words]);

describe('exec', () => {
  test('passes both streams and the exit code through', async () => {
    expect(await exec('--', 'sh', '-c', 'echo out; echo err >&2; exit 7')).toMatchObject({
      code: 7,
      stdout: 'out\n',
      stderr: 'err\n',
    });
  });

  test.each([
    ['kill -9 $$', 137],
    ['kill -15 $$', 143],
    ['exit 255', 255],
  ])('%s ends it with %d', async (script, code) => {
    expect((await exec('--', 'sh', '-c', script)).code).toBe(code);
  });

  test('needs no -- before a command', async () => {
    expect((await exec('--env', 'A=b', 'sh', '-c', 'echo $A --json')).stdout).toBe('b --json\n');
  });

  test('5 MB in and out again, byte for byte', async () => {
    const bytes = randomBytes(5_000_000);
    const ended = await bench.run(['exec', id, '--', 'cat'], { stdin: bytes });
    expect(ended.code).toBe(0);
    expect(createHash('sha256').update(ended.bytes).digest('hex')).toBe(
      createHash('sha256').update(bytes).digest('hex'),
    );
  });

  test('a command that does not read its input ends all the same', async () => {
    const running = bench.inTerminal(['exec', id, '--', 'true']);
    expect((await running.ended).code).toBe(0);
    const ended = await bench.run(['exec', id, '--', 'true'], { stdin: randomBytes(3_000_000) });
    expect(ended.code).toBe(0);
  });

  test('escape sequences of the command reach the terminal as they are', async () => {
    expect((await exec('--', 'printf', '\\033[31mred')).stdout).toBe('\u001b[31mred');
  });

  test('--timeout-ms ends it, with 124', async () => {
    const { code, stderr } = await exec('--timeout-ms', '200', '--', 'sleep', '9');
    expect(code).toBe(124);
    expect(stderr).toContain('ended after its 200 ms');
  });

  test('--detach answers at once; logs has the output', async () => {
    const { code, stdout } = await exec('--detach', '--', 'sh', '-c', 'echo from afar');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ sandbox_id: id, detached: true });
    for (let text = ''; !text.includes('from afar'); ) text = (await bench.run(['logs', id])).stdout;
  });

  test('--json gives output and exit code in one document', async () => {
    const { code, stdout } = await exec('--json', '--', 'sh', '-c', 'echo hi; exit 3');
    expect(code).toBe(3);
    expect(JSON.parse(stdout)).toMatchObject({ exit_code: 3, stdout: 'hi\n', stderr: '' });
  });

  test('a reader that leaves ends it, quietly', async () => {
    const running = bench.start(['exec', id, '--', 'yes']);
    running.process.stdout?.once('data', () => running.process.stdout?.destroy());
    expect(await running.ended).toMatchObject({ code: 141, stderr: '' });
  });

  test('SIGINT goes inside; the second one leaves', async () => {
    const polite = bench.start([
      'exec',
      id,
      '--',
      'sh',
      '-c',
      'trap "echo told; exit 9" INT; echo on; sleep 9 & wait',
    ]);
    await polite.printed(/on/);
    polite.process.kill('SIGINT');
    expect(await polite.ended).toMatchObject({ code: 9, stdout: 'on\ntold\n' });
    const deaf = bench.start(['exec', id, '--', 'sh', '-c', 'trap "" INT; echo on; sleep 7']);
    await deaf.printed(/on/);
    deaf.process.kill('SIGINT');
    await bench.run(['version']);
    deaf.process.kill('SIGINT');
    expect(await deaf.ended).toMatchObject({ code: 130, stderr: expect.stringContaining('was ended') });
    const { stdout } = await exec('--', 'sh', '-c', 'ps -o args= 2>/dev/null || cat /proc/[0-9]*/cmdline');
    expect(stdout).not.toContain('sleep 7');
  });

  test('other commands work meanwhile, without a server', async () => {
    const script = 'rm -f go; echo on; until rm go 2>/dev/null; do sleep 0.1; done; echo end';
    const long = bench.start(['exec', id, '--', 'sh', '-c', script]);
    await long.printed(/on/);
    const listed = await bench.run(['list']);
    expect(listed.code).toBe(0);
    expect(JSON.parse(listed.stdout)).toMatchObject({ items: [{ sandbox_id: id, state: 'active' }] });
    expect(long.process.exitCode).toBeNull();
    expect((await exec('--', 'touch', 'go')).code).toBe(0);
    expect(await long.ended).toMatchObject({ code: 0, stdout: 'on\nend\n' });
  });

  test('a sandbox that ends under it is said to have ended', async () => {
    const other = await bench.create('--profile', 'profile.local');
    const long = bench.start(['exec', other, '--', 'sh', '-c', 'echo on; sleep 7']);
    await long.printed(/on/);
    await bench.run(['destroy', other]);
    const { code, stderr } = await long.ended;
    expect([8, 137]).toContain(code);
    expect(stderr).not.toContain('should not have failed');
  });
});

describe('a terminal', () => {
  test('exec -t gives the command one, of the same size', async () => {
    const { code, stdout } = await bench.inTerminal(['exec', '-t', id, '--', 'sh', '-c', 'stty size; exit 4'])
      .ended;
    expect(code).toBe(4);
    expect(plain(stdout)).toContain('30 100\n');
  });

  test('shell: keys go in, Ctrl-C too, and its exit code comes out', async () => {
    const running = bench.inTerminal(['shell', id]);
    await running.printed(/\$ /);
    running.type('echo $((40+2)) $TERM\n');
    await running.printed(/42 xterm/);
    running.type('sleep 60\n');
    await running.printed(/sleep 60/);
    running.type('\u0003');
    running.type('echo still $((1+1))\n');
    await running.printed(/still 2/);
    running.type('exit 5\n');
    expect((await running.ended).code).toBe(5);
  });
});

describe('port', () => {
  test('forwards every connection, and leaves the home to others', async () => {
    await exec('--detach', '--', 'sh', '-c', 'echo payload > index.html; exec python3 -m http.server 8081');
    const running = bench.start(['port', id, '8081', '--listen', '0', '--json']);
    const [, address] = await running.printed(/"listen": "([^"]+)"/);
    const fetchText = async () => (await fetch(`http://${address}/`)).text();
    await expect.poll(fetchText, { timeout: 8_000 }).toBe('payload\n');
    expect(await Promise.all([fetchText(), fetchText(), fetchText()])).toEqual(Array(3).fill('payload\n'));
    expect((await bench.run(['list'])).code).toBe(0);
    running.process.kill('SIGINT');
    expect((await running.ended).code).toBe(0);
  });
});
