import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from './command.ts';
import type { LabHost } from './host.ts';
import { loadImages, WEB_IMAGE } from './images.ts';
import { type Lab, startLab } from './lab.ts';
import { writeRepository } from './stacks.ts';

const ssh = (lab: Lab, host: LabHost, command: string) =>
  runCommand(['ssh', '-F', lab.sshConfigFile, '-o', 'ConnectTimeout=1', host.name, command]);

describe.runIf(process.getuid?.() === 0)('the lab', () => {
  let lab: Lab;
  let first: LabHost;
  let second: LabHost;

  beforeAll(async () => {
    lab = await startLab({ hosts: 2 });
    [first, second] = lab.hosts as [LabHost, LabHost];
    await Promise.all(lab.hosts.map(loadImages));
  });
  afterAll(() => lab?.stop());

  it('answers the plain ssh program, as root with a light shell, and finds Docker Compose there', async () => {
    const answer = await ssh(lab, second, 'hostname; id -un; echo "$0"; docker compose version --short');
    expect(answer).toMatchObject({ exitCode: 0, stderr: '' });
    expect(answer.stdout).toMatch(/^host2\nroot\nsh\n2\./);
    expect((await ssh(lab, second, 'exit 7')).exitCode).toBe(7);
  });

  it('copies files with rsync into the base directory of one host only', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'lab-repository-'));
    writeRepository(directory, 'webAndData');
    const target = 'host1:/tmp/sandboxer/one/';
    const copy = await runCommand([
      'rsync',
      '-a',
      '-e',
      `ssh -F ${lab.sshConfigFile}`,
      `${directory}/`,
      target,
    ]);
    rmSync(directory, { recursive: true });
    expect(copy).toMatchObject({ exitCode: 0, stderr: '' });
    expect(first.baseEntries()).toEqual(['one']);
    expect(second.baseEntries()).toEqual([]);
  });

  it('runs a stack on one host, of which the other sees nothing', async () => {
    const up = await ssh(
      lab,
      first,
      'cd /tmp/sandboxer/one && docker compose -p one -f e2e/compose.yml up -d --wait',
    );
    expect(up.exitCode, up.stderr).toBe(0);
    expect(await first.composeProjects()).toEqual(['one']);
    expect((await first.containers()).map(({ state }) => state)).toEqual(['running', 'running']);
    expect([await first.volumes(), await first.networks()]).toEqual([['one_data'], ['one_default']]);
    expect(await second.containers()).toEqual([]);
    expect([await second.volumes(), await second.networks()]).toEqual([[], []]);
    const page = await first.docker('exec', 'one-web-1', 'wget', '-q', '-O', '-', 'http://127.0.0.1:8080/');
    expect(page.stdout).toBe('sandboxer-lab web\n');
    const kept = await first.docker('exec', 'one-web-1', 'data-ask', 'data', 'SET a 1');
    expect(kept.stdout).toBe('OK\n');
  });

  it('loses its processes and /run with a reboot, and keeps its disk', async () => {
    await first.run(['touch', '/run/before', '/tmp/sandboxer/before']);
    await first.reboot();
    expect((await first.containers()).map(({ state }) => state)).toEqual(['exited', 'exited']);
    expect((await first.run(['ls', '/run/before'])).exitCode).not.toBe(0);
    expect(first.baseEntries()).toEqual(['before', 'one']);
    expect((await ssh(lab, first, 'hostname')).stdout).toBe('host1\n');
    expect((await first.docker('start', 'one-data-1')).exitCode).toBe(0);
    const kept = await first.docker('exec', 'one-data-1', 'data-ask', '127.0.0.1', 'GET a');
    expect(kept.stdout).toBe('1\n');
  });

  it('cannot be reached with its link down, and can with it up again', async () => {
    await first.linkDown();
    expect((await ssh(lab, first, 'true')).exitCode).toBe(255);
    expect((await ssh(lab, second, 'true')).exitCode).toBe(0);
    await first.linkUp();
    expect((await ssh(lab, first, 'true')).exitCode).toBe(0);
  });

  it('has a disk that can be full, a file system of its own', async () => {
    await first.fillDisk();
    const write = await ssh(lab, first, 'cp /etc/passwd /tmp/sandboxer/file');
    expect(write).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('No space left on device') });
    expect((await ssh(lab, second, 'echo text > /tmp/sandboxer/file')).exitCode).toBe(0);
    await first.freeDisk();
    expect((await ssh(lab, first, 'echo text > /tmp/sandboxer/file')).exitCode).toBe(0);
  });

  it('can lose its sshd, the connections, its known key, its engine, and the time', async () => {
    const session = ssh(lab, second, 'sleep 30; echo survived');
    await expect.poll(async () => (await second.run(['ps', 'ax'])).stdout).toContain('sleep 30');
    await second.stopSshd();
    expect((await ssh(lab, second, 'true')).stderr).toContain('Connection refused');
    await second.killSshdSessions();
    expect(await session).toMatchObject({ exitCode: 255, stdout: '' });
    await second.startSshd();
    await second.setClockOffset(-3600);
    const seconds = Number((await ssh(lab, second, 'date +%s')).stdout);
    expect(Math.abs(seconds + 3600 - Date.now() / 1000)).toBeLessThan(5);
    await second.stopEngine();
    expect((await ssh(lab, second, 'docker ps')).exitCode).toBe(1);
    await second.startEngine();
    expect((await ssh(lab, second, 'docker ps')).exitCode).toBe(0);
    await second.changeHostKey();
    expect((await ssh(lab, second, 'true')).stderr).toContain('HOST IDENTIFICATION HAS CHANGED');
  });
});

/** What of a lab can be seen from outside. */
async function traces(directory: string): Promise<string[]> {
  const name = basename(directory);
  const linesOf = async (argv: readonly string[], part: string) =>
    (await runCommand(argv)).stdout.split('\n').filter((line) => line.includes(part));
  return [
    ...(await linesOf(['ip', '-o', 'link'], `sbl${name.split('-').at(-1)}h`)),
    ...(await linesOf(['cat', '/proc/mounts'], `${directory}/`)),
    ...(await linesOf(['find', '/sys/fs/cgroup', '-maxdepth', '2', '-name', name], name)),
    ...(await linesOf(['ps', 'axww', '-o', 'args'], `${name}/`)),
    ...(existsSync(directory) ? [directory] : []),
  ];
}

/** The machine, as far as a lab could change it for good; other labs may run beside this one. */
async function machine(): Promise<string[]> {
  const commands = ['nft list ruleset', 'ip netns', 'ip -o -4 addr', 'ip route'];
  const outputs = await Promise.all(commands.map((command) => runCommand(command.split(' '))));
  const lines = outputs.flatMap(({ stdout }) => stdout.split('\n'));
  return lines.filter((line) => !/sbl\d+h/.test(line)).map((line) => line.replace(/valid_lft.*/, ''));
}

/** A process that starts a lab with a container in it and holds it until it is killed. */
async function startHolder(): Promise<{ directory: string; kill(): void }> {
  const program = `const { startLab } = await import('${import.meta.dirname}/lab.ts');
    const { loadImages, WEB_IMAGE } = await import('${import.meta.dirname}/images.ts');
    const lab = await startLab({ hosts: 1 });
    await loadImages(lab.hosts[0]);
    await lab.hosts[0].docker('run', '-d', '--restart=always', WEB_IMAGE);
    console.log(lab.directory);
    setInterval(() => undefined, 1000);`;
  const stdio: ['ignore', 'pipe', 'inherit'] = ['ignore', 'pipe', 'inherit'];
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio });
  const directory = await new Promise<string>((resolve, reject) => {
    child.stdout.once('data', (text: Buffer) => resolve(text.toString().trim()));
    child.once('exit', () => reject(new Error('No lab was started.')));
  });
  return { directory, kill: () => void child.kill('SIGKILL') };
}

describe.runIf(process.getuid?.() === 0)('a lab that ends', () => {
  it('leaves nothing, with a container running', async () => {
    const before = await machine();
    const lab = await startLab({ hosts: 1 });
    const [host] = lab.hosts as [LabHost];
    await loadImages(host);
    expect((await host.docker('run', '-d', '--restart=always', WEB_IMAGE)).exitCode).toBe(0);
    expect((await traces(lab.directory)).length).toBeGreaterThan(4);
    await lab.stop();
    expect(await traces(lab.directory)).toEqual([]);
    expect(await machine()).toEqual(before);
  });

  it('leaves nothing when the process that started it is killed', async () => {
    const { directory, kill } = await startHolder();
    kill();
    await expect.poll(() => traces(directory), { timeout: 5000 }).toEqual([]);
  });

  it('leaves no process when its supervisor is killed, and the next start takes the rest', async () => {
    const { directory, kill } = await startHolder();
    const owner = JSON.parse(readFileSync(join(directory, 'owner.json'), 'utf8')) as { pid: number };
    process.kill(owner.pid, 'SIGKILL');
    const processes = async () => (await traces(directory)).filter((line) => line.includes('dockerd'));
    await expect.poll(processes, { timeout: 5000 }).toEqual([]);
    kill();
    await (await startLab({ hosts: 1, engines: false })).stop();
    await expect.poll(() => traces(directory), { timeout: 5000 }).toEqual([]);
  });
});
