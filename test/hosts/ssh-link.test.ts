/** What a link promises about its connection: one, watched, trusted, and gone when closed. */

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, copyFileSync, existsSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createHostLinks } from '../../src/adapters/host-links/links.ts';
import { hostSchema } from '../../src/domain/host/host.ts';
import type { HostLink } from '../../src/ports/host-link.ts';
import { clock, eventually, freePort, type Sshd, startSshd } from './sshd.ts';

const TIMEOUT_MS = 10_000;
const ask = (link: HostLink, ...command: string[]) => link.run({ command, timeoutMs: TIMEOUT_MS });
const never = new AbortController().signal;

/** The process that holds the connection of the only link below `directory`. */
function masterPid(sshd: Sshd, directory: string): number {
  const [name] = readdirSync(join(sshd.directory, directory));
  const path = join(sshd.directory, directory, name!, 'm');
  const said = execFileSync('sh', ['-c', 'ssh -F none -S "$1" -O check -- x 2>&1', 'sh', path], {
    encoding: 'utf8',
  });
  return Number(/pid=(\d+)/.exec(said)?.[1]);
}

let sshd: Sshd;
beforeEach(async () => {
  sshd = await startSshd();
});
afterEach(() => sshd.remove());

describe('the connection', () => {
  it('is one for forty commands at once, whatever the host allows', async () => {
    const link = sshd.links().link(sshd.host);
    const script = 'sleep 0.05; echo "$1"';
    const results = await Promise.all(
      Array.from({ length: 40 }, (_, index) => ask(link, 'sh', '-c', script, 'sh', String(index))),
    );
    expect(results.map(({ stdout }) => stdout.trim())).toEqual(results.map((_, index) => String(index)));
    expect(sshd.connectionCount()).toBe(1);
  });

  it('leaves nothing behind when it is closed, and opens again', async () => {
    const links = sshd.links();
    const link = links.link(sshd.host);
    await ask(link, 'true');
    const running = await link.start({ command: ['sleep', '60'] });
    await link.close();
    await expect(running.exit).rejects.toMatchObject({ kind: 'ambiguous' });
    expect(readdirSync(join(sshd.directory, 'c1'))).toEqual([]);
    expect(await eventually(() => sshd.processes().length === 0, 1_000)).toBe(true);
    expect((await ask(link, 'true')).exitCode).toBe(0);
    expect(sshd.connectionCount()).toBe(2);
    await links.close();
    await links.close();
    expect(await eventually(() => sshd.processes().length === 0, 1_000)).toBe(true);
  });

  it('is opened again when its process was killed; what ran over it is ambiguous', async () => {
    const link = sshd.links().link(sshd.host);
    const running = await link.start({ command: ['sleep', '60'] });
    process.kill(masterPid(sshd, 'c1'), 'SIGKILL');
    await expect(running.exit).rejects.toMatchObject({ kind: 'ambiguous' });
    const results = await Promise.all([ask(link, 'true'), ask(link, 'true'), ask(link, 'true')]);
    expect(results.map(({ exitCode }) => exitCode)).toEqual([0, 0, 0]);
    expect(sshd.connectionCount()).toBe(2);
  });

  it('breaks as ambiguous when the host goes in the middle, then as transient, then works again', async () => {
    const link = sshd.links().link(sshd.host);
    const running = ask(link, 'sleep', '60');
    const outcome = expect(running).rejects.toMatchObject({ kind: 'ambiguous' });
    await eventually(() => sshd.connectionCount() === 1);
    await ask(link, 'true');
    await sshd.stop();
    await outcome;
    await expect(ask(link, 'true')).rejects.toMatchObject({
      kind: 'transient',
      message: expect.stringMatching(/^host lab \(.*@127\.0\.0\.1\) cannot be reached: .*refused/),
    });
    await sshd.start();
    expect((await ask(link, 'true')).exitCode).toBe(0);
  });

  it('takes a control directory of its own when the given one is too long for a socket', async () => {
    const links = createHostLinks({
      directory: join(sshd.directory, 'x'.repeat(100)),
      clock,
      environment: { ...process.env, TMPDIR: sshd.directory },
      configFile: sshd.configFile,
    });
    expect((await ask(links.link(sshd.host), 'true')).exitCode).toBe(0);
    await links.close();
    expect(existsSync(join(sshd.directory, 'x'.repeat(100)))).toBe(false);
  });

  it('serves a host whose sshd allows few sessions', async () => {
    await sshd.stop();
    appendFileSync(join(sshd.directory, 'sshd_config'), 'MaxSessions 3\n');
    await sshd.start();
    const link = sshd.links().link(sshd.host);
    const results = await Promise.all(Array.from({ length: 12 }, () => ask(link, 'sleep', '0.05')));
    expect(results.every(({ exitCode }) => exitCode === 0)).toBe(true);
    expect(sshd.connectionCount()).toBe(1);
  });

  it('goes by aliases and settings of the configuration', async () => {
    const { port } = sshd;
    appendFileSync(sshd.configFile, `Host nick\n HostName 127.0.0.1\n Port ${port}\n LocalForward 1 x:1\n`);
    const link = sshd.links().link(sshd.hostWith({ address: 'nick', port: null }));
    expect((await ask(link, 'true')).exitCode).toBe(0);
  });

  it('goes by way of another machine', async () => {
    const jump = `${sshd.host.ssh?.user}@way:${sshd.port}`;
    appendFileSync(sshd.configFile, `Host way\n HostName 127.0.0.1\n IdentityFile ${sshd.keyFile}\n`);
    const link = sshd.links().link(sshd.hostWith({ jump }));
    expect((await ask(link, 'true')).exitCode).toBe(0);
    expect(sshd.connectionCount()).toBe(2);
  });
});

describe('a host', () => {
  it('whose key is unknown is forbidden, and the message says how to accept it', async () => {
    writeFileSync(sshd.knownHosts, '');
    const link = sshd.links().link(sshd.host);
    await expect(ask(link, 'true')).rejects.toMatchObject({
      kind: 'forbidden',
      message: expect.stringMatching(
        /^The host key of host lab \(.*\) is not known here\. .*ssh -o 'StrictHostKeyChecking=ask' -F \S+ -p \d+ \S+@127\.0\.0\.1 exit$/,
      ),
    });
  });

  it('whose key has changed is forbidden, and the message says that it changed', async () => {
    await sshd.newHostKey();
    const link = sshd.links().link(sshd.host);
    await expect(ask(link, 'true')).rejects.toMatchObject({
      kind: 'forbidden',
      message: expect.stringMatching(/has changed; .*ssh-keygen -f \S+ -R '\[127\.0\.0\.1\]:\d+' && ssh /),
    });
  });

  it('that refuses the key is unauthenticated', async () => {
    const other = join(sshd.directory, 'other');
    copyFileSync(join(sshd.directory, 'host_key'), other);
    const link = sshd.links().link(sshd.hostWith({ key_file: other }));
    await expect(ask(link, 'true')).rejects.toMatchObject({
      kind: 'unauthenticated',
      message: expect.stringContaining('Permission denied (publickey)'),
    });
  });

  it('that is down, or that no name leads to, is transient', async () => {
    const link = sshd.links().link(sshd.hostWith({ port: await freePort() }));
    await expect(ask(link, 'true')).rejects.toMatchObject({ kind: 'transient' });
    const lost = sshd.links().link(sshd.hostWith({ address: 'no-such-host.invalid' }));
    await expect(ask(lost, 'true')).rejects.toMatchObject({ kind: 'transient' });
  });

  it('that accepts and says nothing is given up in time, and the caller sooner if it wants', async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as { port: number };
    const links = sshd.links();
    const link = links.link(sshd.hostWith({ port }));
    const begun = performance.now();
    await expect(link.run({ command: ['true'], timeoutMs: 300 })).rejects.toMatchObject({
      kind: 'transient',
    });
    await links.close();
    expect(performance.now() - begun).toBeLessThan(1_000);
    silent.close();
  });

  it('whose login runs no commands is unsupported', async () => {
    await sshd.stop();
    appendFileSync(join(sshd.directory, 'sshd_config'), 'ForceCommand echo go away >&2\n');
    await sshd.start();
    const link = sshd.links().link(sshd.host);
    await expect(ask(link, 'true')).rejects.toMatchObject({
      kind: 'unsupported',
      message: 'The login shell of host lab runs no commands: Go away.',
    });
  });

  it('with a name that ssh could take for something else does not exist', () => {
    for (const address of ['-oProxyCommand=id', '-h', 'a b', 'a;id', '$(id)', 'a\nb', 'ssh://x', 'u@h', ''])
      expect(hostSchema.safeParse({ name: 'x', ssh: { address } }).success).toBe(false);
    for (const change of [{ user: '-l' }, { jump: '-oProxyCommand=id' }, { key_file: '-x' }, { port: 0 }])
      expect(hostSchema.safeParse({ name: 'x', ssh: { address: 'h', ...change } }).success).toBe(false);
  });
});

describe('a stream to the host', () => {
  let server: Server;
  let port: number;
  beforeAll(async () => {
    server = createServer({ allowHalfOpen: true }, (socket) => {
      void buffer(socket).then((data) => socket.end(data.reverse()));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    port = (server.address() as { port: number }).port;
  });
  afterAll(() => server.close());

  const reversed = async (stream: Duplex, data: Buffer) => {
    stream.end(data);
    return (await buffer(stream)).reverse();
  };

  it('reaches a TCP port, takes no session and passes everything', async () => {
    const link = sshd.links().link(sshd.host);
    const data = Buffer.alloc(5_000_000, 'abcdefg');
    const streams = await Promise.all(
      Array.from({ length: 12 }, () => link.connect({ address: '127.0.0.1', port }, never)),
    );
    const answers = await Promise.all(streams.map((stream) => reversed(stream, data)));
    expect(answers.every((answer) => answer.equals(data))).toBe(true);
    expect(sshd.connectionCount()).toBe(1);
  });

  it('ends with an error where nobody listens, and when the connection breaks', async () => {
    const link = sshd.links().link(sshd.host);
    const nobody = await link.connect({ address: '127.0.0.1', port: await freePort() }, never);
    await expect(buffer(nobody)).rejects.toMatchObject({ kind: 'transient' });
    const arrived = once(server, 'connection');
    const stream = await link.connect({ address: '127.0.0.1', port }, never);
    stream.write('x');
    await arrived; // so that what breaks now is a connection, and not one that was never made
    await ask(link, 'true');
    process.kill(masterPid(sshd, 'c1'), 'SIGKILL');
    await expect(buffer(stream)).rejects.toMatchObject({ kind: 'ambiguous' });
  });

  it('reaches a Unix socket, also after the connection was lost', async () => {
    const path = join(sshd.directory, 'service');
    const service = createServer((socket) => socket.pipe(socket));
    await new Promise<void>((resolve) => service.listen(path, resolve));
    const link = sshd.links().link(sshd.host);
    const echo = async () => {
      const stream = await link.connect({ socket: path }, never);
      stream.end('hello');
      return (await buffer(stream)).toString();
    };
    expect(await Promise.all([echo(), echo(), echo()])).toEqual(['hello', 'hello', 'hello']);
    process.kill(masterPid(sshd, 'c1'), 'SIGKILL');
    await clock.sleep(100);
    expect(await echo()).toBe('hello');
    service.close();
  });

  it('is refused for a target that is none', async () => {
    const link = sshd.links().link(sshd.host);
    for (const target of [{ address: '-x', port: 1 }, { address: 'a', port: 0 }, { socket: 'x' }])
      await expect(link.connect(target, never)).rejects.toMatchObject({ kind: 'invalid' });
  });
});

describe('links', () => {
  it('are one for a host until how to reach it changes', () => {
    const links = sshd.links();
    const link = links.link(sshd.host);
    expect(links.link({ ...sshd.host, slots: 3, draining: true })).toBe(link);
    expect(links.link(sshd.hostWith({ port: 1 }))).not.toBe(link);
  });
});
