/**
 * Real hosts for tests: each has its own network, processes, disk, sshd and Docker engine, in namespaces of this machine.
 * Needs root and what `scripts/setup-lab.sh` installs.
 */
import { randomInt } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type LabHost, type Login, startHost } from './host.ts';
import { claimLabDirectory, linkName, sweepAbandonedLabs } from './leftovers.ts';
import { knownHostsLines, makeKey, prepareHostKeys } from './ssh-daemon.ts';
import { type SupervisorClient, startSupervisor } from './supervisor-client.ts';

export interface Lab {
  readonly directory: string;
  readonly hosts: readonly LabHost[];
  readonly knownHostsFile: string;
  readonly keyFile: string;
  /** For `ssh -F`: the hosts by name (`host1`, …) and by address. */
  readonly sshConfigFile: string;
  stop(): Promise<void>;
}

export interface LabOptions {
  /** At most 60. */
  readonly hosts: number;
  /** Default true. */
  readonly engines?: boolean;
  /** `deploy` is in the group of Docker and nothing else. Default `root`. */
  readonly login?: Login;
}

const COMPOSE_PLUGIN = resolve(
  import.meta.dirname,
  '../../build/lab/docker-config/cli-plugins/docker-compose',
);

/** Why no lab can be started here, or null. */
export function labHindrance(): string | null {
  if (process.platform !== 'linux') return 'The lab needs Linux.';
  if (process.getuid?.() !== 0) return 'The lab needs root.';
  const programs = ['/usr/sbin/sshd', '/usr/bin/rsync', '/bin/busybox', COMPOSE_PLUGIN];
  const missing = programs.filter((program) => !existsSync(program));
  return missing.length === 0 ? null : `Run scripts/setup-lab.sh first; missing: ${missing.join(', ')}.`;
}

function claimNumber(): { number: number; directory: string } {
  for (let attempt = 1; attempt <= 100; attempt += 1) {
    const number = randomInt(1, 255);
    // Another directory for temporary files may hide a lab, its network does not.
    if (existsSync(`/sys/class/net/${linkName(number, 1)}`)) continue;
    const directory = claimLabDirectory(number);
    if (directory !== null) return { number, directory };
  }
  throw new Error('No subnet is free for a lab.');
}

const addressOf = (lab: number, host: number) => `10.77.${lab}.${host * 4 + 2}`;

async function writeSshFiles(directory: string, number: number, hosts: number, login: Login) {
  const keyFile = join(directory, 'id');
  const knownHostsFile = join(directory, 'known_hosts');
  const sshConfigFile = join(directory, 'ssh_config');
  await makeKey(keyFile, 'lab user');
  const userKey = readFileSync(`${keyFile}.pub`, 'utf8');
  const numbers = Array.from({ length: hosts }, (_, index) => index + 1);
  const lines = await Promise.all(
    numbers.map(async (host) => {
      const publicKey = await prepareHostKeys(join(directory, 'ssh', String(host)), userKey);
      return knownHostsLines(`host${host}`, addressOf(number, host), publicKey);
    }),
  );
  writeFileSync(knownHostsFile, lines.join(''), { mode: 0o600 });
  const names = numbers.map((host) => `Host host${host}\n  HostName ${addressOf(number, host)}\n`);
  const common = [
    `User ${login}`,
    'Port 22',
    `IdentityFile ${keyFile}`,
    'IdentitiesOnly yes',
    'BatchMode yes',
  ];
  const known = [`UserKnownHostsFile ${knownHostsFile}`, 'GlobalKnownHostsFile /dev/null'];
  const all = [...common, ...known, 'StrictHostKeyChecking yes'].map((line) => `  ${line}\n`).join('');
  writeFileSync(sshConfigFile, `${names.join('')}Host *\n${all}`, { mode: 0o600 });
  return { keyFile, knownHostsFile, sshConfigFile };
}

async function startHosts(supervisor: SupervisorClient, number: number, options: LabOptions) {
  const starts = Array.from({ length: options.hosts }, (_, index) => {
    const address = addressOf(number, index + 1);
    const { engines: engine = true, login = 'root' } = options;
    const place = { labNumber: number, hostNumber: index + 1, address, engine, login };
    return startHost(place, supervisor);
  });
  const settled = await Promise.allSettled(starts);
  return settled.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}

export async function startLab(options: LabOptions): Promise<Lab> {
  const hindrance = labHindrance();
  if (hindrance !== null) throw new Error(hindrance);
  await sweepAbandonedLabs();
  const { login = 'root' } = options;
  const { number, directory } = claimNumber();
  const supervisor = startSupervisor({
    directory,
    number,
    hosts: options.hosts,
    composePlugin: COMPOSE_PLUGIN,
    login,
  });
  try {
    const files = await writeSshFiles(directory, number, options.hosts, login);
    const hosts = await startHosts(supervisor, number, options);
    return { directory, hosts, ...files, stop: () => supervisor.end() };
  } catch (error) {
    const [ending] = await Promise.allSettled([supervisor.end()]);
    if (ending.status === 'fulfilled') throw error;
    throw new AggregateError([error, ending.reason], 'The lab did not start, and may have left something.');
  }
}
