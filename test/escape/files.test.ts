/** P19 (T14), files: what lies on the host cannot be read or changed from inside, by any path. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canary, type EscapeBench, IS_ROOT, openEscapeBench } from './bench.ts';

let bench: EscapeBench;
const mark = canary();
let hostFile: string;

beforeAll(async () => {
  bench = await openEscapeBench();
  mkdirSync(join(bench.directory, 'private'), { mode: 0o755 });
  hostFile = join(bench.directory, 'private', 'key');
  writeFileSync(hostFile, mark, { mode: 0o666 });
  chmodSync(hostFile, 0o666);
});
afterAll(() => bench.close());

describe('reading the host', () => {
  const ways: [string, (path: string) => string][] = [
    ['by its path', (path) => `cat ${path}`],
    ['by dots', (path) => `cat /workspace/../../../..${path}`],
    ['through the root of the first process', (path) => `cat /proc/1/root${path}`],
    ['through its own root', (path) => `cat /proc/self/root${path}`],
    ['through the directory of the first process', (path) => `cat /proc/1/cwd${path}`],
    [
      'through inherited descriptors',
      (path) => `for d in /proc/self/fd/* /proc/1/fd/*; do cat $d/..${path}; done`,
    ],
    ['through a link', (path) => `ln -sf ${path} /workspace/link; cat /workspace/link`],
  ];
  for (const [how, script] of ways) {
    it(`${how} gives nothing`, async () => {
      expect(readFileSync(hostFile, 'utf8')).toBe(mark);
      expect(await bench.shell(script(hostFile))).not.toContain(mark);
    });
  }

  it('through the API, over a link made inside, gives nothing', async () => {
    await bench.shell(
      `ln -sfn ${hostFile} /workspace/api-link; ln -sfn ${join(bench.directory, 'private')} /workspace/api-directory`,
    );
    for (const path of ['/workspace/api-link', '/workspace/api-directory/key']) {
      await expect(bench.sandbox.readFile(path)).rejects.toMatchObject({ code: 'invalid_input' });
    }
  });

  it("shows none of the host's accounts, homes, keys, devices or kernel files", async () => {
    const listing = await bench.shell(
      'ls -d /etc/shadow /etc/ssl/private /etc/ssh /root/.ssh /home/* /sys/kernel /boot /mnt /var/lib /dev/sda /dev/vda /dev/mem /dev/kmsg /dev/fuse 2>/dev/null; true',
    );
    expect(listing.trim().split('\n')).toEqual(['/home/user']);
    expect(await bench.shell('cut -d: -f1 /etc/passwd')).toBe('root\nuser\nnobody\n');
  });

  it("shows nothing of the broker's home, nor of another sandbox", async () => {
    const other = await bench.sandboxer.create({ profile: 'profile.local' });
    await other.writeFile('/workspace/secret', mark);
    const found = await bench.shell(
      `cat ${bench.home}/* ${bench.home}/extensions/*/*/*/*; grep -rs ${mark} /workspace /home /tmp /run /var /etc; true`,
    );
    expect(found).not.toContain(mark);
    await other.destroy();
  });

  it("shows the first process's environment and arguments to nobody", async () => {
    expect(await bench.shell('cat /proc/1/environ 2>/dev/null | wc -c')).toBe('0\n');
    expect(await bench.shell('tr "\\0" " " < /proc/1/cmdline')).toBe('sandboxer-agent agent ');
  });
});

describe('changing the host', () => {
  it('by writing where it may not leaves the host as it was', async () => {
    const script = `echo x > ${hostFile}; echo x > /usr/bin/sbx; echo x > /etc/passwd; echo x > /sbx; mkdir /usr/lib/sbx; echo x > /.sandboxer/agent; rm -rf /usr/bin/env; true`;
    await bench.shell(script);
    expect(readFileSync(hostFile, 'utf8')).toBe(mark);
    expect(existsSync('/usr/bin/sbx') || existsSync('/usr/lib/sbx')).toBe(false);
    expect(existsSync('/usr/bin/env')).toBe(true);
  });

  it('through the API, over links made inside, in a race, leaves the host as it was', async () => {
    const flipping = await bench.sandbox.start([
      'sh',
      '-c',
      `while :; do ln -sfn ${join(bench.directory, 'private')} /workspace/flip; ln -sfn /tmp /workspace/flip; done`,
    ]);
    for (let round = 0; round < 40; round += 1) {
      await bench.sandbox.writeFile('/workspace/flip/key', 'overwritten').catch(() => undefined); // a refusal is as good
    }
    flipping.close();
    expect(readFileSync(hostFile, 'utf8')).toBe(mark);
  });

  it('has no set-user-id and no device files that work', async () => {
    const script =
      'cp /bin/sh /workspace/rootshell; chmod 4755 /workspace/rootshell; /workspace/rootshell -c "id -u"; find / -xdev -perm -4000 -type f 2>/dev/null | head -1 | xargs -r -I{} sh -c "{} --version >/dev/null; id -u"';
    expect(new Set((await bench.shell(script)).trim().split('\n'))).toEqual(new Set(['1000']));
  });

  it('cannot fill the memory of the machine through /tmp, /dev/shm, /run or /var/tmp', async () => {
    for (const path of ['/tmp', '/dev/shm', '/var/tmp']) {
      const size = await bench.shell(
        `dd if=/dev/zero of=${path}/fill bs=1M count=1024 2>/dev/null; stat -c %s ${path}/fill; rm ${path}/fill`,
      );
      expect(Number(size)).toBeLessThanOrEqual(256 * 1024 * 1024);
    }
  });

  it.runIf(IS_ROOT)('root inside is nobody outside', async () => {
    const sandbox = bench.sandbox;
    const { stdout } = await sandbox.run(
      ['sh', '-c', 'id -u; touch /workspace/of-root; stat -c %u /workspace/of-root'],
      { user: 'root' },
    );
    expect(stdout).toBe('0\n0\n');
    const boxes = join(bench.home, 'extensions', 'ext.local', 'boxes');
    const owner = (await import('node:fs')).statSync(
      join(boxes, readdirSync(boxes)[0]!, 'workspace', 'of-root'),
    ).uid;
    expect(owner).toBeGreaterThan(1_000_000_000);
  });
});

describe('what a sandbox leaves on disk', () => {
  it('can be removed, however deep or many, while others are served', async () => {
    const sandbox = await bench.sandboxer.create({ profile: 'profile.local' });
    const dig =
      'for (1..3000) { mkdir "d"; chdir "d" } chdir "/workspace"; mkdir "many"; for (1..20000) { open(my $f, ">", "many/$_") } mkdir "shut"; chmod 0, "shut"';
    expect((await sandbox.run(['perl', '-e', dig])).exitCode).toBe(0);
    let worstMs = 0;
    let lastMs = performance.now();
    const ticker = setInterval(() => {
      worstMs = Math.max(worstMs, performance.now() - lastMs);
      lastMs = performance.now();
    }, 5);
    expect((await sandbox.destroy()).state).toBe('destroyed');
    clearInterval(ticker);
    expect(worstMs).toBeLessThan(500);
  }, 60_000);
});

describe('an image', () => {
  const create = (image: string) => bench.sandboxer.create({ profile: 'profile.local', inputs: { image } });
  const refused = (image: string) => expect(create(image)).rejects.toMatchObject({ code: 'invalid_input' });

  it('that is a pipe, a socket, garbage or nothing is refused, and the broker lives', async () => {
    const pipe = join(bench.directory, 'pipe.tgz');
    execFileSync('mkfifo', [pipe]);
    const garbage = join(bench.directory, 'garbage.tgz');
    writeFileSync(garbage, 'this is no archive');
    const server = createServer();
    const socket = join(bench.directory, 'socket.tgz');
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    for (const image of [pipe, garbage, socket, join(bench.directory, 'missing.tar')]) await refused(image);
    server.close();
    expect(await bench.shell('echo alive')).toBe('alive\n');
  });

  it('whose entries climb out or go through links writes nothing outside', async () => {
    const tree = join(bench.directory, 'evil');
    mkdirSync(join(tree, 'x'), { recursive: true });
    writeFileSync(join(tree, 'x', 'file'), 'evil');
    symlinkSync(bench.directory, join(tree, 'out'));
    const climbing = join(bench.directory, 'climb.tar');
    execFileSync('tar', ['-C', tree, '-cf', climbing, '--transform=s,x/file,../../climbed,', 'x/file'], {
      stdio: 'ignore',
    });
    await refused(climbing);
    const through = join(bench.directory, 'through.tar');
    execFileSync('tar', ['-C', tree, '-cf', through, 'out', '--transform=s,x/file,out/through,', 'x/file']);
    await refused(through);
    expect(existsSync(join(bench.directory, 'climbed')) || existsSync(join(bench.directory, 'through'))).toBe(
      false,
    );
  });

  it('of a root file system runs its own programs', async () => {
    const root = join(bench.directory, 'rootfs');
    mkdirSync(join(root, 'bin'), { recursive: true });
    execFileSync('cp', [bench.probePath, join(root, 'bin', 'probe')]);
    writeFileSync(join(root, 'mark'), mark);
    const tar = join(bench.directory, 'rootfs.tgz');
    execFileSync('tar', ['-C', root, '-czf', tar, '.']);
    for (const image of [root, tar]) {
      const sandbox = await create(image);
      const { stdout } = await sandbox.run(['/bin/probe', 'mount', mark, '/tmp']);
      expect(stdout).toMatch(/^blocked:/);
      expect(Buffer.from(await sandbox.readFile('/mark')).toString()).toBe(mark);
      await sandbox.destroy();
    }
  });
});

describe('a repository that is copied in', () => {
  const repository = () => {
    const path = join(bench.directory, `repo-${canary()}`);
    mkdirSync(join(path, 'src'), { recursive: true });
    writeFileSync(join(path, 'src', 'a.txt'), 'a');
    return path;
  };

  it('is refused when a link leads out of it, and leaves nothing behind', async () => {
    for (const target of [hostFile, '../../private/key', '/etc/shadow']) {
      const repo = repository();
      symlinkSync(target, join(repo, 'src', 'out'));
      const attempt = bench.sandboxer.create({ profile: 'profile.local', inputs: { repo } });
      await expect(attempt).rejects.toMatchObject({
        code: 'invalid_input',
        message: expect.stringContaining('src/out'),
        cleanedUp: expect.stringContaining('removed'),
      });
    }
  });

  it('keeps links that stay inside', async () => {
    const repo = repository();
    symlinkSync('a.txt', join(repo, 'src', 'b.txt'));
    const sandbox = await bench.sandboxer.create({ profile: 'profile.local', inputs: { repo } });
    expect((await sandbox.run(['cat', '/workspace/src/b.txt'])).stdout).toBe('a');
    await sandbox.destroy();
  });

  it('is a copy: a hard link in it does not tie the inside to the host', async () => {
    const repo = repository();
    linkSync(hostFile, join(repo, 'tied'));
    const sandbox = await bench.sandboxer.create({ profile: 'profile.local', inputs: { repo } });
    await sandbox.run(['sh', '-c', 'echo changed > /workspace/tied']);
    expect(readFileSync(hostFile, 'utf8')).toBe(mark);
    await sandbox.destroy();
  });

  it('leaves out what .gitignore names, when asked', async () => {
    const repo = repository();
    writeFileSync(join(repo, '.gitignore'), 'node_modules/\n*.log\n!keep.log\n');
    mkdirSync(join(repo, 'node_modules'));
    for (const name of ['node_modules/x', 'a.log', 'keep.log']) writeFileSync(join(repo, name), 'x');
    const sandbox = await bench.sandboxer.create({
      profile: 'profile.local',
      inputs: { repo, gitignore: 'true' },
    });
    expect((await sandbox.run(['ls', '-A', '/workspace'])).stdout).toBe('.gitignore\nkeep.log\nsrc\n');
    await sandbox.destroy();
  });
});
