/** P19 (T14), kernel and network: each probe works outside and must fail inside, decided by a fresh canary. */

import { mkdirSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canary, type EscapeBench, IS_ROOT, openEscapeBench } from './bench.ts';

let bench: EscapeBench;
let pathServer: Server;
let abstractServer: Server;
let tcpServer: Server;
const ABSTRACT = `sbx-escape-${process.pid}`;

const listen = (server: Server, where: object): Promise<void> =>
  new Promise((resolve) => server.listen(where, resolve));
const accept = () => createServer((socket) => socket.end());

beforeAll(async () => {
  bench = await openEscapeBench();
  [pathServer, abstractServer, tcpServer] = [accept(), accept(), accept()];
  mkdirSync(join(bench.directory, 'sockets'));
  await listen(pathServer, { path: join(bench.directory, 'sockets', 'host.sock') });
  await listen(abstractServer, { path: `\0${ABSTRACT}` });
  await listen(tcpServer, { port: 0, host: '127.0.0.1' });
});
afterAll(async () => {
  for (const server of [pathServer, abstractServer, tcpServer]) server.close();
  await bench.close();
});

/**
 * `root`: outside it needs root. `maybe`: this kernel or machine may lack it, so outside is not asserted; inside must
 * be blocked all the same.
 */
const KERNEL: readonly [name: string, outside: 'anyone' | 'root' | 'maybe', argument?: string][] = [
  ['io_uring', 'maybe'],
  ['bpf', 'root'],
  ['perf', 'maybe'],
  ['userfaultfd', 'maybe'],
  ['add_key', 'anyone'],
  ['new_user_namespace', 'anyone'],
  ['new_mount_namespace', 'root'],
  ['fsopen', 'root'],
  ['packet_socket', 'root'],
  ['audit_netlink', 'maybe'],
  ['vsock', 'maybe'],
  ['raw_socket', 'root'],
  ['alg_socket', 'maybe'],
  ['delete_module', 'maybe'],
  ['swapoff', 'root'],
  ['by_handle', 'root'],
  ['x32', 'maybe'],
  ['settime', 'root'],
  ['sethostname', 'maybe'],
  ['raise_priority', 'root'],
  ['chroot', 'root'],
  ['become_root', 'root'],
];
/** Never tried outside: it would do what it says. */
const INSIDE_ONLY: readonly [name: string, argument?: string][] = [
  ['reboot'],
  ['kill_first'],
  ['ptrace_first'],
  ['mount', '/tmp'],
  ['make_device', '/tmp/device'],
  ['terminal_inject'],
];

describe('the kernel, from inside', () => {
  for (const [name, outside, argument] of KERNEL) {
    it(`refuses ${name}`, async () => {
      const mark = canary();
      if (name !== 'sethostname' && (outside === 'anyone' || (outside === 'root' && IS_ROOT))) {
        expect(bench.outside(name, mark, argument), 'it works outside').toContain(mark);
      }
      const answer = await bench.inside(name, mark, argument);
      expect(answer).not.toContain(mark);
      expect(answer === '' || answer.startsWith('blocked:'), `"${answer}" is conclusive`).toBe(true);
    });
  }
  for (const [name, argument] of INSIDE_ONLY) {
    it(`refuses ${name}`, async () => {
      const mark = canary();
      const answer = await bench.inside(name, mark, argument);
      expect(answer).toMatch(/^blocked:/);
    });
  }

  it('answers a process outside as if there were none', async () => {
    const mark = canary();
    expect(bench.outside('kill_outside', mark, String(process.pid))).toContain(mark);
    expect(await bench.inside('kill_outside', mark, String(process.pid))).toMatch(
      /^blocked: No such process/,
    );
  });

  it('still runs the agent after all of that', async () => {
    expect(await bench.shell('echo alive')).toBe('alive\n');
  });
});

describe('the network, from inside', () => {
  const reach = async (name: string, argument: string) => {
    const mark = canary();
    expect(bench.outside(name, mark, argument), 'it works outside').toContain(mark);
    expect(await bench.inside(name, mark, argument)).toMatch(/^blocked:/);
  };

  it("does not reach the host's loopback", async () => {
    const address = tcpServer.address();
    await reach('connect_internet', `127.0.0.1:${typeof address === 'object' ? address?.port : 0}`);
  });
  it('does not reach a Unix socket of the host by path', () =>
    reach('connect_path', join(bench.directory, 'sockets', 'host.sock')));
  it('does not reach an abstract Unix socket of the host', () => reach('connect_abstract', ABSTRACT));

  for (const address of ['169.254.169.254:80', '1.1.1.1:53', '10.0.0.1:80', '192.168.0.1:80']) {
    it(`has no way to ${address}`, async () => {
      expect(await bench.inside('connect_internet', canary(), address)).toMatch(
        /^blocked: Network is unreachable/,
      );
    });
  }

  it('has loopback alone', async () => {
    const devices = await bench.shell("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '");
    expect(devices).toBe('lo\n');
    expect(await bench.shell('cat /etc/resolv.conf')).toBe('');
  });
});
