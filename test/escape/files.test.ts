/** P19 (T14), files: what lies on the host cannot be read or changed from inside, by any path. */
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
    expect(await bench.shell('tr "\\0" " " < /proc/1/cmdline')).toBe('/.sandboxer/agent agent ');
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
