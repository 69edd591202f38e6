/** A cgroup around the server and all its sandboxes, to count their processor time and their processes. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Controllers in which the broker makes groups of its own below the one it is in, where they are separate mounts. */
const HIERARCHIES = ['cpuacct', 'cpu', 'pids'] as const;
const BASE = '/sys/fs/cgroup';

const CLOSE_TRIES = 100;
const CLOSE_POLL_MS = 20;

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it has ended by itself
  }
}

/** False while a process holds it. */
function removed(directory: string): boolean {
  try {
    rmdirSync(directory);
    return true;
  } catch {
    return !existsSync(directory);
  }
}

function below(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(directory, entry.name));
}

function pathIn(hierarchy: string): string | null {
  for (const line of readFileSync('/proc/self/cgroup', 'utf8').split('\n')) {
    const [, controllers, path] = line.split(':');
    if (controllers?.split(',').includes(hierarchy) && path !== undefined) return path;
  }
  return null;
}

export class Account {
  readonly #directories: readonly string[];

  private constructor(directories: readonly string[]) {
    this.#directories = directories;
  }

  /** Null where version 1 hierarchies cannot be written: then only the server itself is counted. */
  static open(name: string): Account | null {
    const directories: string[] = [];
    for (const hierarchy of HIERARCHIES) {
      const path = pathIn(hierarchy);
      const place = join(BASE, hierarchy, path ?? '');
      if (path === null || !existsSync(place)) return null;
      try {
        mkdirSync(join(place, name));
      } catch {
        return null; // not ours to write: the row says what is not counted
      }
      directories.push(join(place, name));
    }
    return new Account(directories);
  }

  /** Where a process writes itself to be counted. */
  get files(): readonly string[] {
    return this.#directories.map((directory) => join(directory, 'cgroup.procs'));
  }

  processorMs(): number {
    return Number(readFileSync(join(this.#directories[0]!, 'cpuacct.usage'), 'utf8')) / 1e6;
  }

  /** Every process inside, sandboxes' processes too. */
  processes(): readonly number[] {
    return this.#all()
      .filter((directory) => directory.startsWith(this.#directories[2]!))
      .flatMap((directory) => readFileSync(join(directory, 'cgroup.procs'), 'utf8').split('\n'))
      .filter((line) => line !== '')
      .map(Number);
  }

  groupCount(): number {
    return this.#all().length;
  }

  /** Ends what still runs inside, as sandboxes do that an interrupted row left, and removes the groups. */
  async close(): Promise<void> {
    for (let attempt = 0; attempt < CLOSE_TRIES; attempt += 1) {
      for (const pid of this.processes()) killIfThere(pid);
      if (this.#all().toReversed().every(removed)) return;
      await sleep(CLOSE_POLL_MS);
    }
    console.error(`left behind: ${this.#directories.join(' ')}`);
  }

  #all(): string[] {
    const found: string[] = [];
    const visit = (directory: string) => {
      if (!existsSync(directory)) return;
      found.push(directory);
      for (const child of below(directory)) visit(child);
    };
    for (const directory of this.#directories) visit(directory);
    return found;
  }
}
