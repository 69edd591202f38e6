import { readdirSync } from 'node:fs';
import { type CommandResult, demandCommand, runCommand } from './command.ts';
import { createEngine, type Engine, type Inside } from './engine.ts';
import { cgroupName } from './leftovers.ts';
import { createSshDaemon, type SshDaemon } from './ssh-daemon.ts';
import type { SupervisorClient } from './supervisor-client.ts';

/** Whom the host's sshd lets in. */
export type Login = 'root' | 'deploy';

export interface LabHost
  extends Pick<Engine, 'containers' | 'composeProjects' | 'volumes' | 'networks'>,
    Pick<SshDaemon, 'changeHostKey'> {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly user: Login;
  readonly baseDirectory: '/tmp/sandboxer';
  /** Runs inside the host, not over SSH: what a person at its console sees. */
  run(argv: readonly string[], input?: string): Promise<CommandResult>;
  docker(...argv: string[]): Promise<CommandResult>;
  /** Names in the base directory. */
  baseEntries(): string[];
  /** The path, outside, of a file inside. Changes with a reboot. */
  outsidePath(path: string): string;
  startSshd(): Promise<void>;
  stopSshd(): Promise<void>;
  killSshdSessions(): Promise<void>;
  linkDown(): Promise<void>;
  linkUp(): Promise<void>;
  startEngine(): Promise<void>;
  stopEngine(options?: { kill?: boolean }): Promise<void>;
  pauseEngine(): Promise<void>;
  resumeEngine(): Promise<void>;
  loadImage(tar: Uint8Array): Promise<void>;
  /** Fills the base directory's file system to the last byte. */
  fillDisk(): Promise<void>;
  freeDisk(): Promise<void>;
  /** What `date` says from now on, beside the truth; 0 for the truth. Times of files and containers stay true. */
  setClockOffset(seconds: number): Promise<void>;
  /** From now on the base directory lies on an ext4 of its own, empty and of that size; until the next reboot. */
  useDisk(mebibytes: number): Promise<void>;
  /** Power off and on: no process and nothing in /run survives, the disk does. */
  reboot(): Promise<void>;
}

export interface HostPlace {
  readonly labNumber: number;
  readonly hostNumber: number;
  readonly address: string;
  readonly engine: boolean;
  readonly login: Login;
}

const ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  LANG: 'C.UTF-8',
};
const BASE_DIRECTORY = '/tmp/sandboxer';
const FILLER = `${BASE_DIRECTORY}/.lab-filler`;

const dateProgram = (seconds: number) => `#!/bin/sh
exec /usr/bin/date.true --date '${seconds} seconds' "$@"
`;

export async function startHost(place: HostPlace, supervisor: SupervisorClient): Promise<LabHost> {
  const { hostNumber, address } = place;
  const name = `host${hostNumber}`;
  let firstPid = 0;
  const enter = () => [
    'nsenter',
    `--target=${firstPid}`,
    '--mount',
    '--uts',
    '--ipc',
    '--net',
    '--pid',
    '--',
  ];
  const run = (argv: readonly string[], input?: string) =>
    runCommand([...enter(), ...argv], {
      environment: ENVIRONMENT,
      ...(input === undefined ? {} : { input }),
    });
  const shell = (script: string) =>
    demandCommand([...enter(), 'sh', '-c', script], { environment: ENVIRONMENT });
  const inside: Inside = { pid: () => firstPid, shell };
  const ssh = createSshDaemon(inside, name, address);
  const engine = createEngine(inside, `/${cgroupName(place.labNumber)}/${name}`);
  const boot = async () => {
    firstPid = await supervisor.boot(hostNumber);
    await Promise.all([ssh.start(), place.engine ? engine.start() : undefined]);
  };
  const outsidePath = (path: string) => `/proc/${firstPid}/root${path}`;
  await boot();
  return {
    name,
    address,
    port: 22,
    user: place.login,
    baseDirectory: BASE_DIRECTORY,
    run,
    docker: (...argv) => run(['docker', ...argv]),
    containers: engine.containers,
    composeProjects: engine.composeProjects,
    volumes: engine.volumes,
    networks: engine.networks,
    outsidePath,
    baseEntries: () => readdirSync(outsidePath(BASE_DIRECTORY)).sort(),
    startSshd: ssh.start,
    stopSshd: ssh.stop,
    killSshdSessions: ssh.killSessions,
    changeHostKey: ssh.changeHostKey,
    // At the host's end, as a pulled cable: the other end keeps its route and gets no answer.
    linkDown: async () => void (await shell('ip link set eth0 down')),
    linkUp: async () => void (await shell('ip link set eth0 up')),
    startEngine: engine.start,
    stopEngine: engine.stop,
    pauseEngine: engine.pause,
    resumeEngine: engine.resume,
    loadImage: engine.load,
    fillDisk: async () => void (await shell(`dd if=/dev/zero of=${FILLER} bs=1M 2>/dev/null || :`)),
    freeDisk: async () => void (await shell(`rm -f ${FILLER}`)),
    async setClockOffset(seconds) {
      await shell('[ -e /usr/bin/date.true ] || cp /usr/bin/date /usr/bin/date.true');
      const script =
        'cat >/usr/bin/date.new && chmod 755 /usr/bin/date.new && mv /usr/bin/date.new /usr/bin/date';
      await demandCommand([...enter(), 'sh', '-c', script], {
        environment: ENVIRONMENT,
        input: dateProgram(seconds),
      });
    },
    async useDisk(mebibytes) {
      const image = '/var/tmp/lab-disk';
      const make = `truncate -s ${mebibytes}m ${image} && mkfs.ext4 -q ${image}`;
      await shell(
        `${make} && mount -o loop ${image} ${BASE_DIRECTORY} && rmdir ${BASE_DIRECTORY}/lost+found`,
      );
    },
    async reboot() {
      await supervisor.halt(hostNumber);
      await boot();
    },
  };
}
