import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  existsSync,
  fchmodSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { IS_ROOT, processesInside, run, shell, TestBench, type TestSandbox } from './sandbox.ts';

/** System calls by number, so that no program has to exist for them; arguments follow the number. */
const CALL = `use strict; no strict 'subs'; my @a = map { /^-?\\d+$/ ? int($_) : $_ } @ARGV;
my $r = syscall($a[0], @a[1..$#a]); print $r == -1 ? "errno ".int($!) : "value $r";`;
const EPERM = 'errno 1';
const ENOSYS = 'errno 38';
const EAFNOSUPPORT = 'errno 97';

describe('what the inside of a sandbox cannot do', () => {
  let bench: TestBench;
  let box: TestSandbox;
  const isX64 = process.arch === 'x64';

  const call = async (...numbers: number[]) =>
    (await run(box.agent, ['perl', '-e', CALL, ...numbers.map(String)])).text;

  beforeAll(async () => {
    bench = await TestBench.open();
    box = await bench.start();
  });
  afterAll(() => bench.close());

  it('has a seccomp filter, no new privileges and no capability, in every process', async () => {
    for (const process of ['1', 'self']) {
      const { text } = await shell(
        box.agent,
        `grep -E "Seccomp:|NoNewPrivs|CapEff|CapBnd" /proc/${process}/status`,
      );
      expect(text).toContain('Seccomp:\t2');
      expect(text).toContain('NoNewPrivs:\t1');
      if (process === 'self') expect(text).toContain('CapEff:\t0000000000000000');
      if (process === 'self') expect(text).toContain('CapBnd:\t0000000000000000');
    }
  });

  it('cannot read what pid 1 holds', async () => {
    for (const name of ['environ', 'mem', 'maps', 'fd/3', 'root/etc', 'stack']) {
      const result = await shell(box.agent, `ls -l /proc/1/${name}/ ; cat /proc/1/${name}`);
      expect(result.exitCode, name).not.toBe(0);
      expect(result.stdout.length, name).toBeLessThan(200);
    }
  });

  it('cannot kill, stop or trace pid 1, nor change its priority for the worse as another user', async () => {
    const user = IS_ROOT ? (['user', 'root'] as const) : (['user'] as const);
    for (const name of user) {
      await shell(box.agent, 'for s in KILL STOP TERM INT HUP SEGV CHLD USR1; do kill -$s 1; done', {
        user: name,
      });
    }
    expect((await box.agent.status()).protocolVersion).toBe(1);
    if (isX64) expect(await call(101, 16, 1, 0, 0)).toMatch(/errno/);
  });

  it.runIf(isX64)('is refused the calls no sandbox needs', async () => {
    const denied: Record<string, number> = {
      bpf: 321,
      perf_event_open: 298,
      userfaultfd: 323,
      keyctl: 250,
      add_key: 248,
      mount: 165,
      umount2: 166,
      pivot_root: 155,
      fsopen: 430,
      move_mount: 429,
      open_tree: 428,
      mount_setattr: 442,
      unshare: 272,
      setns: 308,
      kexec_load: 246,
      init_module: 175,
      finit_module: 313,
      reboot: 169,
      swapon: 167,
      open_by_handle_at: 304,
      quotactl: 179,
      acct: 163,
      syslog: 103,
      process_vm_readv: 310,
      process_vm_writev: 311,
      pidfd_getfd: 438,
    };
    for (const [name, number] of Object.entries(denied)) {
      expect(await call(number, 0, 0, 0, 0, 0), name).toBe(EPERM);
    }
    for (const number of [425, 426, 427, 435])
      expect(await call(number, 0, 0, 0), String(number)).toBe(ENOSYS);
    expect(await call(135, 0x0200000), 'personality').toBe(EPERM);
    expect(await call(16, 0, 0x5412, 0), 'TIOCSTI').toBe(EPERM);
    expect(await call(16, 0, 0x541c, 0), 'TIOCLINUX').toBe(EPERM);
    expect(await call(56, 0x10000011, 0, 0, 0, 0), 'clone into a user namespace').toBe(EPERM);
  });

  it.runIf(isX64)('is killed for a call of another kind of system', async () => {
    const result = await run(box.agent, ['perl', '-e', CALL, String(0x40000000 + 39)]);
    expect(result.signal).toBe(31);
  });

  it.runIf(isX64)('gets only local and internet sockets', async () => {
    for (const domain of [1, 2, 10]) expect(await call(41, domain, 1, 0)).toMatch(/^value/);
    expect(await call(41, 16, 3, 0)).toMatch(/^value/);
    for (const [domain, type, protocol] of [
      [17, 3, 0],
      [40, 1, 0],
      [38, 5, 0],
      [15, 3, 2],
      [31, 3, 1],
      [16, 3, 16],
      [16, 3, 9],
    ]) {
      expect(await call(41, domain!, type!, protocol!), `domain ${domain}`).toBe(EAFNOSUPPORT);
    }
  });

  it('cannot make a user namespace', async () => {
    expect((await shell(box.agent, 'unshare -U true')).exitCode).not.toBe(0);
    expect((await shell(box.agent, 'unshare -rm true')).exitCode).not.toBe(0);
  });

  it('sees a short /etc without the users and keys of the host', async () => {
    expect(
      (await shell(box.agent, 'ls /etc/shadow /etc/ssh /etc/ssl/private /sys /var/log')).stdout.length,
    ).toBe(0);
    const { text } = await shell(box.agent, 'cat /etc/passwd');
    expect(text.trim().split('\n')).toHaveLength(3);
  });

  it('reaches neither a file beside its own nor one of the host', async () => {
    const canary = randomBytes(16).toString('hex');
    const outside = join(bench.base, 'outside.txt');
    writeFileSync(outside, canary);
    chmodSync(outside, 0o644);
    expect(readFileSync(outside, 'utf8')).toBe(canary);
    const tries = `cat ${outside}; cat /proc/1/root${outside}; cat /proc/1/cwd${outside}; cat /workspace/../..${outside};
      cat /oldroot${outside}; cat /newroot${outside}; ln -s ${outside} /workspace/link; cat /workspace/link;
      cat /tmp/0/*; grep -r ${canary.slice(0, 16)} /tmp /run /var /dev /home 2>/dev/null`;
    expect((await shell(box.agent, tries)).text).not.toContain(canary);
    expect((await shell(box.agent, 'ls /workspace /home/user /.sandboxer')).text).not.toContain('agent.sock');
  });

  it('cannot write outside of its own directories', async () => {
    const places = '/ /usr /usr/bin /etc /dev /.sandboxer /bin /home /var /proc /proc/sys/kernel';
    const { text } = await shell(
      box.agent,
      `for p in ${places}; do touch $p/x 2>/dev/null && echo $p; done; true`,
    );
    expect(text).toBe('');
    expect((await shell(box.agent, 'echo x > /.sandboxer/agent')).exitCode).not.toBe(0);
    expect(
      (
        await shell(
          box.agent,
          'for p in /workspace /home/user /tmp /var/tmp /dev/shm; do touch $p/x || exit 1; done',
        )
      ).exitCode,
    ).toBe(0);
  });

  it('cannot fill more than its temporary directories allow', async () => {
    const result = await shell(
      box.agent,
      'head -c 100000000 /dev/zero > /tmp/big; ls -l /tmp/big; rm /tmp/big',
    );
    expect(result.stderr.toString()).toContain('No space left');
  });

  it('reaches no server of the host, by address or by name of a socket', async () => {
    const server = createServer((socket) => socket.end('host'));
    const abstract = createServer((socket) => socket.end('host'));
    const name = `\0sandbox-native-${randomBytes(8).toString('hex')}`;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    await new Promise<void>((resolve) => abstract.listen(name, resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const probe = `const net = require('net');
      for (const options of [{ port: ${port}, host: '127.0.0.1' }, { path: ${JSON.stringify(name)} }]) {
        net.connect(options).on('data', (data) => console.log(String(data))).on('error', () => undefined);
      }`;
    const outside = await promisify(execFile)(process.execPath, ['-e', probe], { timeout: 4000 }).catch(
      (error: { stdout: string }) => error,
    );
    expect(outside.stdout).toBe('host\nhost\n');
    const result = await run(box.agent, ['node', '-e', probe], { timeoutMs: 4000 });
    expect(result).toMatchObject({ text: '', exitCode: 0 });
    server.close();
    abstract.close();
  });

  it('inherits no descriptor and no signal setting', async () => {
    const { text } = await shell(
      box.agent,
      'ls /proc/self/fd | tr "\\n" " "; grep -E "SigBlk|SigIgn" /proc/self/status',
    );
    expect(text).toBe('0 1 2 3 SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n');
    expect((await shell(box.agent, 'cat /proc/self/oom_score_adj; ulimit -c')).text).toBe('500\n0\n');
  });

  it.runIf(IS_ROOT)("reaches the agent's program through a mount that nobody can write through", () => {
    const program = openSync(`/proc/${box.pid}/exe`, 'r');
    try {
      expect(() => fchmodSync(program, 0o777)).toThrow('EROFS');
    } finally {
      closeSync(program);
    }
  });

  it.runIf(IS_ROOT)('owns nothing as root outside', async () => {
    await shell(box.agent, 'touch /workspace/mine');
    const [inside] = processesInside(box);
    const status = readFileSync(`/proc/${inside}/status`, 'utf8');
    expect(status).toMatch(/Uid:\t1879048192\t/);
    expect(readFileSync(`/proc/${inside}/uid_map`, 'utf8')).toMatch(/^\s*0\s+1879048192\s+65536\n$/);
    await shell(box.agent, 'echo x > /workspace/set; chmod 6755 /workspace/set', { user: 'root' });
    const owner = execFileSync('stat', ['-c', '%u', join(box.directory, 'workspace', 'set')])
      .toString()
      .trim();
    expect(owner).toBe('1879048192');
  });

  it('uses an image as its root, whatever links the image has', async () => {
    const image = join(bench.base, 'image');
    const { prepareImageRoot } = await import('../../src/extensions/local/native/base-files.ts');
    mkdirSync(join(image, 'etc'), { recursive: true });
    for (const path of ['bin', 'sbin', 'lib', 'lib64']) {
      if (existsSync(`/${path}`)) execFileSync('ln', ['-s', `usr/${path}`, join(image, path)]);
    }
    mkdirSync(join(image, 'usr/bin'), { recursive: true });
    execFileSync('cp', ['-a', '/usr/bin/dash', join(image, 'usr/bin/sh')]);
    execFileSync('cp', ['-a', '/usr/bin/cat', join(image, 'usr/bin/cat')]);
    execFileSync('sh', [
      '-c',
      `for f in $(ldd /usr/bin/cat | grep -o '/[^ ]*'); do mkdir -p ${image}/usr$(dirname $f); cp -L $f ${image}/usr$f; done`,
    ]);
    writeFileSync(join(image, 'etc', 'release'), 'an image\n');
    execFileSync('ln', ['-s', '/oldroot/tmp', join(image, 'workspace')]);
    execFileSync('ln', ['-s', '/etc', join(image, 'home')]);
    await prepareImageRoot(image);
    const other = await bench.start({ root: { kind: 'image', directory: image } });
    const result = await shell(
      other.agent,
      'cat /etc/release; echo x > /workspace/file; echo y > /etc/z || echo refused',
    );
    expect(result.text).toBe('an image\nrefused\n');
    expect(readdirSync(join(other.directory, 'workspace'))).toEqual(['file']);
  });
});
