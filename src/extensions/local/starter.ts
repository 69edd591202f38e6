import type { SandboxSpec } from '../../ports/extension.ts';
import type { Cgroups, Seed } from './cgroups.ts';
import { AgentError } from './native/agent-error.ts';
import type { Launcher, LaunchRequest } from './native/launcher.ts';

/** A seed, and the launcher process that waits in it: another one would start a sandbox outside of it. */
interface Parked {
  readonly seed: Seed;
  readonly launcherPid: number | undefined;
}

/**
 * Starts sandboxes in their cgroups. Where cgroups can be renamed, the launcher already waits in the next one's, so
 * that a sandbox is born there; else each process joins by itself.
 */
export class Starter {
  readonly #launcher: Launcher;
  readonly #cgroups: Cgroups;
  #turn: Promise<unknown> = Promise.resolve();
  #seed: Promise<Parked | null>;

  constructor(launcher: Launcher, cgroups: Cgroups) {
    this.#launcher = launcher;
    this.#cgroups = cgroups;
    this.#seed = this.#park();
  }

  /** The helper process, which may still sit in the cgroup of the sandbox that it started last. */
  get launcherPid(): number | undefined {
    return this.#launcher.pid;
  }

  /** Starts one sandbox; answers the process outside whose end ends it. */
  start(
    name: string,
    limits: SandboxSpec['resources'],
    request: Omit<LaunchRequest, 'cgroupFiles'>,
  ): Promise<{ readonly pid: number }> {
    const started = this.#turn.then(() => this.#startNext(name, limits, request));
    this.#turn = started.catch(() => undefined);
    return started;
  }

  async close(): Promise<void> {
    await this.#seed;
    await this.#launcher.close();
    this.#cgroups.removeSeeds();
  }

  /** Between taking the seed and asking for the launch nothing may be awaited: the order of requests decides. */
  async #startNext(
    name: string,
    limits: SandboxSpec['resources'],
    request: Omit<LaunchRequest, 'cgroupFiles'>,
  ): Promise<{ readonly pid: number }> {
    const parked = await this.#seed;
    if (parked === null || parked.launcherPid !== this.#launcher.pid) {
      const cgroupFiles = this.#cgroups.create(name, limits);
      const joined = this.#launcher.launch({ ...request, cgroupFiles });
      this.#seed = this.#park();
      return joined;
    }
    this.#cgroups.adopt(parked.seed, name, limits);
    const launched = this.#launcher.launch({ ...request, cgroupFiles: [] });
    this.#seed = this.#park();
    return launched;
  }

  /** Null where there are no seeds, or the launcher could not be moved: the sandbox then joins by itself. */
  async #park(): Promise<Parked | null> {
    if (!this.#cgroups.canSeed) return null;
    const seed = this.#cgroups.createSeed();
    try {
      await this.#launcher.park(seed.files);
      return { seed, launcherPid: this.#launcher.pid };
    } catch (error) {
      if (!(error instanceof AgentError)) throw error;
      this.#launcher.leave(); // it still sits in the last sandbox's cgroup, which could then never be removed
      return null;
    }
  }
}
