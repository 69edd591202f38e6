import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseBackendName } from '../../domain/ids.ts';
import { LIMITS } from '../../domain/limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { SandboxSpec } from '../../ports/extension.ts';

type Limits = SandboxSpec['resources'];

/** Where this process may make cgroups, and with which controllers. */
export interface CgroupBase {
  readonly version: 1 | 2;
  /** Controller → the directory below which sandboxes' groups are made. In version 2 they are all the same. */
  readonly directories: Readonly<Partial<Record<Controller, string>>>;
}

export type Controller = 'memory' | 'pids' | 'cpu';
const CONTROLLERS: readonly Controller[] = ['memory', 'pids', 'cpu'];
const GROUP = 'sandboxer';
/** Not there where the kernel does not count swap, or there is none. */
const SWAP_FILES = ['memory.memsw.limit_in_bytes', 'memory.swap.max'];
const CPU_PERIOD_US = 100_000;
const EMPTY_WAIT_MS = 2;
const EMPTY_TRIES = 1_000;

export interface CgroupFiles {
  /** The text of /proc/self/cgroup. */
  readonly membership: string;
  /** The text of /proc/self/mounts. */
  readonly mounts: string;
}

export function readCgroupFiles(): CgroupFiles {
  return {
    membership: readFileSync('/proc/self/cgroup', 'utf8'),
    mounts: readFileSync('/proc/self/mounts', 'utf8'),
  };
}

function mountsOf(text: string): { place: string; type: string; options: readonly string[] }[] {
  return text
    .split('\n')
    .map((line) => line.split(' '))
    .filter((words) => words[2] === 'cgroup' || words[2] === 'cgroup2')
    .map((words) => ({ place: words[1]!, type: words[2]!, options: words[3]!.split(',') }));
}

function ownPath(membership: string, controller: string): string | null {
  for (const line of membership.split('\n')) {
    const [, controllers, ...path] = line.split(':');
    if (controllers?.split(',').includes(controller)) return path.join(':');
  }
  return null;
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false; // not ours to use: the caller says what cannot be enforced
  }
}

/** Finds what can be used, without changing anything. */
export function findCgroups(files: CgroupFiles): CgroupBase | null {
  const mounts = mountsOf(files.mounts);
  const directories: Partial<Record<Controller, string>> = {};
  for (const controller of CONTROLLERS) {
    const mount = mounts.find(({ type, options }) => type === 'cgroup' && options.includes(controller));
    const path = ownPath(files.membership, controller);
    if (mount === undefined || path === null) continue;
    const own = join(mount.place, path);
    if (isWritable(own)) directories[controller] = join(own, GROUP);
  }
  if (Object.keys(directories).length > 0) return { version: 1, directories };
  return findUnified(files, mounts);
}

/** Version 2: a group beside our own, since one that holds processes cannot pass controllers on. */
function findUnified(files: CgroupFiles, mounts: ReturnType<typeof mountsOf>): CgroupBase | null {
  const mount = mounts.find(({ type }) => type === 'cgroup2');
  const path = ownPath(files.membership, '');
  if (mount === undefined || path === null) return null;
  const own = join(mount.place, path);
  const parent = path === '/' ? own : dirname(own);
  if (!isWritable(parent) || !isWritable(join(parent, 'cgroup.procs'))) return null;
  const offered = readFileSync(join(parent, 'cgroup.controllers'), 'utf8').trim().split(' ');
  const directories = Object.fromEntries(
    CONTROLLERS.filter((controller) => offered.includes(controller)).map((controller) => [
      controller,
      join(parent, GROUP),
    ]),
  );
  return Object.keys(directories).length === 0 ? null : { version: 2, directories };
}

function removeIfEmpty(place: string): void {
  try {
    rmdirSync(place);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : '';
    if (code !== 'EBUSY' && code !== 'ENOENT') throw error; // somebody else is in it, or has removed it
  }
}

/** The groups of sandboxes: made with limits, looked into, emptied, removed. */
export class Cgroups {
  readonly base: CgroupBase | null;
  readonly #clock: Clock;
  #prepared = false;

  constructor(base: CgroupBase | null, clock: Clock) {
    this.base = base;
    this.#clock = clock;
  }

  can(controller: Controller): boolean {
    return this.base?.directories[controller] !== undefined;
  }

  /**
   * Makes the groups of one sandbox and sets its limits; answers the files that a process with one thread writes itself
   * into. Version 1 has `tasks` for that: through `cgroup.procs` it would wait 5 to 20 ms for the kernel's grace period.
   */
  create(name: string, limits: Limits): readonly string[] {
    this.#prepare();
    const places = this.#places(name);
    for (const place of places) mkdirSync(place, { recursive: true });
    this.#limit(name, limits);
    return places.map((place) => join(place, this.base?.version === 1 ? 'tasks' : 'cgroup.procs'));
  }

  /** Removes empty groups that no sandbox of this home has, once they are too old to be somebody's that starts. */
  removeLeftovers(isOurs: (name: string) => boolean): void {
    const before = this.#clock.nowMs() - LIMITS.leftoverAgeMs;
    for (const directory of new Set(Object.values(this.base?.directories ?? {}))) {
      if (!existsSync(directory)) continue;
      for (const name of readdirSync(directory)) {
        if (parseBackendName(name) === null || isOurs(name)) continue;
        const madeAtMs = statSync(join(directory, name), { throwIfNoEntry: false })?.mtimeMs ?? before;
        if (madeAtMs < before) removeIfEmpty(join(directory, name));
      }
    }
  }

  exists(name: string): boolean {
    return this.#places(name).some((place) => existsSync(place));
  }

  processes(name: string): readonly number[] {
    const place = this.#places(name)[0];
    if (place === undefined || !existsSync(place)) return [];
    const text = readFileSync(join(place, 'cgroup.procs'), 'utf8');
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map(Number);
  }

  /** Waits until the groups are empty and removes them. Safe to repeat; false when something stays inside. */
  async remove(name: string): Promise<boolean> {
    const removed = await Promise.all(this.#places(name).map((place) => this.#removePlace(place)));
    return removed.every(Boolean);
  }

  #limit(name: string, limits: Limits): void {
    for (const [controller, file, value] of this.#settings(limits)) {
      const directory = this.base?.directories[controller];
      const path = join(directory ?? '', name, file);
      if (directory !== undefined && (!SWAP_FILES.includes(file) || existsSync(path)))
        writeFileSync(path, value);
    }
  }

  async #removePlace(place: string): Promise<boolean> {
    for (let attempt = 0; attempt < EMPTY_TRIES; attempt += 1) {
      try {
        await rmdir(place);
        return true;
      } catch (error) {
        const code = error instanceof Error && 'code' in error ? error.code : '';
        if (code === 'ENOENT') return true;
        if (code !== 'EBUSY') throw error;
        await this.#clock.sleep(EMPTY_WAIT_MS);
      }
    }
    return false;
  }

  #places(name: string): readonly string[] {
    return [...new Set(Object.values(this.base?.directories ?? {}))].map((directory) =>
      join(directory, name),
    );
  }

  #prepare(): void {
    if (this.#prepared || this.base === null) return;
    const directories = [...new Set(Object.values(this.base.directories))];
    for (const directory of directories) mkdirSync(directory, { recursive: true });
    if (this.base.version === 2) {
      const enable = Object.keys(this.base.directories)
        .map((controller) => `+${controller}`)
        .join(' ');
      for (const directory of directories) {
        writeFileSync(join(dirname(directory), 'cgroup.subtree_control'), enable);
        writeFileSync(join(directory, 'cgroup.subtree_control'), enable);
      }
    }
    this.#prepared = true;
  }

  #settings(limits: Limits): readonly (readonly [Controller, string, string])[] {
    const settings: [Controller, string, string][] = [];
    const unified = this.base?.version === 2;
    if (limits.memoryMb !== null) {
      const bytes = String(limits.memoryMb * 1024 * 1024);
      settings.push(['memory', unified ? 'memory.max' : 'memory.limit_in_bytes', bytes]);
      settings.push([
        'memory',
        ...(unified ? ['memory.swap.max', '0'] : ['memory.memsw.limit_in_bytes', bytes]),
      ] as [Controller, string, string]);
    }
    if (limits.processes !== null) settings.push(['pids', 'pids.max', String(limits.processes)]);
    if (limits.cpu !== null) {
      const quota = Math.round(limits.cpu * CPU_PERIOD_US);
      if (unified) settings.push(['cpu', 'cpu.max', `${quota} ${CPU_PERIOD_US}`]);
      else settings.push(['cpu', 'cpu.cfs_quota_us', String(quota)]);
    }
    return settings;
  }
}
