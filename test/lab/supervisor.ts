/**
 * Owns the hosts of a lab. It runs in a mount namespace of its own, boots and halts hosts on request, and takes everything
 * away when its input closes: at the end of the lab, or because the test's process died. Should it be killed itself, the
 * kernel kills the hosts (parent death signal), and the next lab sweeps the rest.
 */
import { type ChildProcessByStdio, execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { cgroupName, linkName, processStartTicks, removeCgroups } from './leftovers.ts';

export interface SupervisorRequest {
  readonly action: 'boot' | 'halt';
  readonly host: number;
}

export interface SupervisorAnswer {
  /** Of the host's first process, as seen from outside. */
  readonly pid?: number;
  readonly error?: string;
}

const [directory, numberText, hostCountText, composePlugin, login] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
];
const number = Number(numberText);
const areas = join(directory, 'areas');
interface Machine {
  readonly shell: ChildProcessByStdio<null, Readable, Readable>;
  firstPid: number | null;
}

const machines = new Map<number, Machine>();

function mountAreas(): void {
  mkdirSync(areas);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4g,mode=755', 'tmpfs', areas]);
  for (let host = 1; host <= Number(hostCountText); host += 1) {
    const base = join(areas, String(host), 'base');
    mkdirSync(base, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256m,mode=755', 'tmpfs', base]);
  }
}

function machineEnvironment(host: number): Record<string, string> {
  return {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    SUPERVISOR_PID: String(process.pid),
    AREA: join(areas, String(host)),
    SSH_SOURCE: join(directory, 'ssh', String(host)),
    LOGIN: login,
    LINK: linkName(number, host),
    NAME: `host${host}`,
    NEAR: `10.77.${number}.${host * 4 + 1}`,
    FAR: `10.77.${number}.${host * 4 + 2}`,
    COMPOSE_PLUGIN: composePlugin,
  };
}

async function boot(host: number): Promise<number> {
  const script = join(import.meta.dirname, 'machine.sh');
  const argv = ['--pdeathsig', 'KILL', 'unshare', '--net', 'sh', script, 'network'];
  const shell = spawn('setpriv', argv, { stdio: ['ignore', 'pipe', 'pipe'], env: machineEnvironment(host) });
  const machine: Machine = { shell, firstPid: null };
  machines.set(host, machine);
  machine.firstPid = await new Promise<number>((resolve, reject) => {
    let complaint = '';
    shell.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint += text;
    });
    shell.stdout.once('data', (text: Buffer) => resolve(Number(text.toString())));
    shell.once('error', reject);
    shell.once('close', () => reject(new Error(`host ${host} did not start: ${complaint.trim()}`)));
  });
  return machine.firstPid;
}

/** Kills the host's first process; the kernel reports its end when every other process of the host has ended too. */
async function halt(host: number): Promise<void> {
  const machine = machines.get(host);
  if (machine === undefined) return;
  machines.delete(host);
  const { shell } = machine;
  if (shell.exitCode === null && shell.signalCode === null) {
    const ended = new Promise((resolve) => shell.once('exit', resolve));
    process.kill(machine.firstPid ?? shell.pid!, 'SIGKILL');
    await ended;
  }
  // It would go with its network namespace, but only a moment later; a host that did not get this far has none.
  spawnSync('ip', ['link', 'delete', linkName(number, host)], { stdio: 'ignore' });
}

async function answer(request: SupervisorRequest): Promise<SupervisorAnswer> {
  try {
    if (request.action === 'boot') return { pid: await boot(request.host) };
    await halt(request.host);
    return {};
  } catch (error) {
    return { error: String(error) };
  }
}

async function takeAway(): Promise<void> {
  await Promise.all([...machines.keys()].map(halt));
  execFileSync('umount', ['--lazy', '--recursive', areas]);
  await removeCgroups(cgroupName(number));
  rmSync(directory, { recursive: true, force: true });
}

const owner = { pid: process.pid, startTicks: processStartTicks(process.pid) };
writeFileSync(join(directory, 'owner.json.new'), JSON.stringify(owner));
renameSync(join(directory, 'owner.json.new'), join(directory, 'owner.json'));
mountAreas();
// The test's process closes the input; signals meant for its group are not for this one.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
const tell = (text: object) => process.stdout.write(`${JSON.stringify(text)}\n`);
process.stdout.on('error', () => undefined);
createInterface({ input: process.stdin })
  .on('line', (line) => {
    const request = JSON.parse(line) as SupervisorRequest;
    void answer(request).then((text) => tell({ ...request, ...text }));
  })
  .once('close', () => {
    void takeAway().then(() => process.exit(0));
  });
