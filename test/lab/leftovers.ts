/** What can stay behind of a lab: its directory and its cgroups. Everything else goes with the namespaces. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const PREFIX = 'sandboxer-lab-';
const CGROUP_ROOT = '/sys/fs/cgroup';
/** A directory this young without an owner is one that is just being made. */
const UNOWNED_AGE_MS = 60_000;

export interface LabOwner {
  readonly pid: number;
  readonly startTicks: string;
}

/** The lab's number is its subnet too; making the directory claims both. */
export function claimLabDirectory(number: number): string | null {
  const directory = join(tmpdir(), `${PREFIX}${number}`);
  try {
    mkdirSync(directory, { mode: 0o700 });
    return directory;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return null;
    throw error;
  }
}

/** The near end of a host's cable. */
export function linkName(lab: number, host: number): string {
  return `sbl${lab}h${host}`;
}

export function cgroupName(number: number): string {
  return `${PREFIX}${number}`;
}

/** With the pid it names a process for good; null for one that is gone. */
export function processStartTicks(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? null : fields[19]!;
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return null;
    throw error;
  }
}

function removeTree(cgroup: string): void {
  for (const entry of readdirSync(cgroup, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(cgroup, entry.name));
  }
  rmdirSync(cgroup);
}

/** Version 1 has a tree for each controller, version 2 one for all. A group stays busy for a moment after its last process. */
export async function removeCgroups(name: string): Promise<void> {
  const parents = [CGROUP_ROOT, ...readdirSync(CGROUP_ROOT).map((entry) => join(CGROUP_ROOT, entry))];
  for (let attempt = 1; ; attempt += 1) {
    try {
      for (const group of parents.map((parent) => join(parent, name)).filter(existsSync)) removeTree(group);
      return;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? '';
      if (attempt === 100 || !['EBUSY', 'ENOENT'].includes(code)) throw error;
      await sleep(20);
    }
  }
}

function isAbandoned(directory: string): boolean {
  const ownerFile = join(directory, 'owner.json');
  if (!existsSync(ownerFile)) return Date.now() - statSync(directory).mtimeMs > UNOWNED_AGE_MS;
  const owner = JSON.parse(readFileSync(ownerFile, 'utf8')) as LabOwner;
  return processStartTicks(owner.pid) !== owner.startTicks;
}

/** Removes what labs left whose supervisor was killed before it could. */
export async function sweepAbandonedLabs(): Promise<void> {
  for (const name of readdirSync(tmpdir()).filter((entry) => /^sandboxer-lab-\d+$/.test(entry))) {
    const directory = join(tmpdir(), name);
    try {
      if (!isAbandoned(directory)) continue;
      await removeCgroups(name);
      rmSync(directory, { recursive: true, force: true });
    } catch (error) {
      // Its own supervisor, or another sweep, was faster.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
}
