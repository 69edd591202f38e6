/** A real sshd on 127.0.0.1, of the current user, in a temporary directory; and links that know its key. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { createSystemClock } from '../../src/adapters/clock/system-clock.ts';
import { createHostLinks } from '../../src/adapters/host-links/links.ts';
import { type Host, hostSchema, type SshDestination } from '../../src/domain/host/host.ts';
import type { HostLinks } from '../../src/ports/host-link.ts';

export const clock = createSystemClock();

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function makeKey(path: string): string {
  rmSync(path, { force: true });
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path]);
  return readFileSync(`${path}.pub`, 'utf8').trim();
}

/** Resolves true once `condition` holds, false when it does not within the time. */
export async function eventually(condition: () => boolean | Promise<boolean>, ms = 5_000): Promise<boolean> {
  for (const end = clock.monotonicMs() + ms; clock.monotonicMs() < end; await clock.sleep(20)) {
    if (await condition()) return true;
  }
  return condition();
}

export interface Sshd {
  readonly directory: string;
  readonly port: number;
  readonly host: Host;
  readonly keyFile: string;
  readonly configFile: string;
  readonly knownHosts: string;
  /** Links with a control directory of their own; `environment` goes over this process's. */
  links(environment?: Record<string, string>): HostLinks;
  hostWith(change: Partial<SshDestination>, name?: string): Host;
  connectionCount(): number;
  /** Processes whose arguments name this fixture's directory. */
  processes(): string[];
  newHostKey(): Promise<void>;
  start(): Promise<void>;
  /** With all its connections. */
  stop(): Promise<void>;
  remove(): Promise<void>;
}

const SETTINGS = [
  'ListenAddress 127.0.0.1',
  'UsePAM no',
  'StrictModes no',
  'PasswordAuthentication no',
  'KbdInteractiveAuthentication no',
  'LogLevel VERBOSE',
  'MaxStartups 100',
];

function processList(): { pid: number; parent: number; text: string }[] {
  const output = execFileSync('ps', ['-A', '-ww', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' });
  return output
    .split('\n')
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line))
    .filter((match) => match !== null)
    .map((match) => ({ pid: Number(match[1]), parent: Number(match[2]), text: match[3]! }));
}

/** The process ids of what descends from `pid`, which only this test started. */
function descendants(pid: number): number[] {
  const all = processList();
  const found = [pid];
  for (const parent of found) found.push(...all.filter((entry) => entry.parent === parent).map((e) => e.pid));
  return found;
}

async function isListening(port: number): Promise<boolean> {
  const outcome = Promise.withResolvers<boolean>();
  const socket = connect(port, '127.0.0.1');
  socket.once('connect', () => outcome.resolve(true));
  socket.once('error', () => outcome.resolve(false));
  return outcome.promise.finally(() => socket.destroy());
}

export async function startSshd(more: readonly string[] = []): Promise<Sshd> {
  const directory = mkdtempSync(join(tmpdir(), 'sshd-'));
  const port = await freePort();
  const path = (name: string) => join(directory, name);
  if (userInfo().uid === 0) mkdirSync('/run/sshd', { recursive: true });
  let hostKey = makeKey(path('host_key'));
  writeFileSync(path('authorized_keys'), `${makeKey(path('id'))}\n`);
  const remember = () => writeFileSync(path('known_hosts'), `[127.0.0.1]:${port} ${hostKey}\n`);
  remember();
  const files = ['host_key', 'authorized_keys', 'pid'].map(path);
  writeFileSync(
    path('sshd_config'),
    [
      ...[`Port ${port}`, `HostKey ${files[0]}`, `AuthorizedKeysFile ${files[1]}`, `PidFile ${files[2]}`],
      ...SETTINGS,
      // The login shell's start-up files of whoever runs the tests are not under test.
      `SetEnv HOME=${directory}`,
      ...more,
      '',
    ].join('\n'),
  );
  writeFileSync(path('ssh_config'), `UserKnownHostsFile ${path('known_hosts')}\nGlobalKnownHostsFile none\n`);
  const program = ['/usr/sbin/sshd', '/usr/local/sbin/sshd', '/usr/bin/sshd'].find((file) =>
    existsSync(file),
  );
  if (program === undefined) throw new Error('these tests need sshd: install openssh-server');
  let child: ChildProcess | null = null;
  let opened = 0;
  const links: HostLinks[] = [];
  const destination: SshDestination = {
    user: userInfo().username,
    address: '127.0.0.1',
    port,
    key_file: path('id'),
    jump: null,
  };
  const fixture: Sshd = {
    directory,
    port,
    keyFile: path('id'),
    configFile: path('ssh_config'),
    knownHosts: path('known_hosts'),
    host: hostSchema.parse({ name: 'lab', ssh: destination }),
    hostWith: (change, name = 'lab') => hostSchema.parse({ name, ssh: { ...destination, ...change } }),
    links(environment = {}) {
      opened += 1;
      const made = createHostLinks({
        directory: path(`c${opened}`),
        clock,
        environment: { ...process.env, ...environment },
        configFile: path('ssh_config'),
      });
      links.push(made);
      return made;
    },
    connectionCount: () =>
      readFileSync(path('log'), 'utf8')
        .split('\n')
        .filter((line) => line.startsWith('Accepted publickey')).length,
    processes: () =>
      processList()
        .filter((entry) => entry.text.includes(directory) && entry.pid !== child?.pid)
        .map((entry) => entry.text),
    async newHostKey() {
      await fixture.stop();
      hostKey = makeKey(path('host_key'));
      await fixture.start();
    },
    async start() {
      writeFileSync(path('log'), '', { flag: 'a' });
      child = spawn(program, ['-D', '-f', path('sshd_config'), '-E', path('log')], { stdio: 'ignore' });
      if (!(await eventually(() => isListening(port))))
        throw new Error(`sshd does not start: ${readFileSync(path('log'), 'utf8')}`);
    },
    async stop() {
      const ended = child;
      if (ended?.pid === undefined) return;
      child = null;
      for (const pid of descendants(ended.pid)) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It has ended by itself meanwhile.
        }
      }
      await eventually(() => ended.exitCode !== null || ended.signalCode !== null);
    },
    async remove() {
      await Promise.all(links.map((made) => made.close()));
      await fixture.stop();
      chmodSync(directory, 0o700);
      rmSync(directory, { recursive: true, force: true });
    },
  };
  await fixture.start();
  return fixture;
}
