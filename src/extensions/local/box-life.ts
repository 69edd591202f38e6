/** Making, seeing and removing one sandbox. Every function may be repeated after a crash at any point. */
import { mkdirSync } from 'node:fs';
import { chown, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { printable } from '../../domain/text.ts';
import type { Clock } from '../../ports/clock.ts';
import {
  ExtensionError,
  type Handle,
  type Observation,
  type ProvisionRequest,
} from '../../ports/extension.ts';
import type { Cgroups } from './cgroups.ts';
import type { Boxes } from './client.ts';
import type { LocalRequest } from './config.ts';
import { copyTree } from './copy-tree.ts';
import type { Ground } from './ground.ts';
import { firstId, type IdentitySlots, USER_ID_INSIDE } from './identity.ts';
import { prepareImage } from './image.ts';
import { AgentError } from './native/agent-error.ts';
import { boxSteps, type SandboxRoot } from './native/box-plan.ts';
import type { Launcher } from './native/launcher.ts';
import { removeBox } from './remove.ts';
import { restoreWorkspace } from './snapshots.ts';

/** Between two looks whether a process has ended, where no launcher tells of it. */
const QUICK_LOOK_MS = 1;
const DEATH_LOOK_MS = 2;
const QUICK_TRIES = 8;
const DEATH_TRIES = 1_500;
const LAUNCH_LOG_BYTES = 8 * 1024 * 1024;

export class BoxLife {
  readonly #boxes: Boxes;
  readonly #cgroups: Cgroups;
  readonly #slots: IdentitySlots;
  readonly #launcher: Launcher | null;
  readonly #clock: Clock;

  constructor(parts: {
    boxes: Boxes;
    cgroups: Cgroups;
    slots: IdentitySlots;
    /** Null where nothing can be started, only seen and removed. */
    launcher: Launcher | null;
    clock: Clock;
  }) {
    this.#boxes = parts.boxes;
    this.#cgroups = parts.cgroups;
    this.#slots = parts.slots;
    this.#launcher = parts.launcher;
    this.#clock = parts.clock;
  }

  /** Starts the sandbox, or adopts the one of that name that already runs. */
  async make(ground: Ground, request: ProvisionRequest, local: LocalRequest): Promise<Handle> {
    const { name, epoch, signal } = request;
    if (this.#boxes.exists(name)) {
      const held = this.#boxes.read(name);
      if (held !== null && held.epoch !== epoch) {
        throw new ExtensionError('conflict', `${name} exists in incarnation ${held.epoch}, not ${epoch}.`);
      }
      const seen = await this.observe(name, signal);
      if (seen.kind === 'present' && seen.state === 'running') return seen.handle;
      await this.remove(name, signal);
    }
    signal.throwIfAborted();
    const directory = this.#boxes.path(name);
    mkdirSync(directory, { mode: 0o700 });
    const slot = ground.isRoot ? this.#slots.take(name) : null;
    const { environment } = local;
    this.#boxes.write(name, {
      epoch,
      tags: request.tags,
      environment,
      slot,
      createdAtMs: this.#clock.nowMs(),
    });
    const root = local.image === null ? ground.hostRoot : await this.#imageRoot(ground, local.image, signal);
    await this.#fillWorkspace(directory, local, slot, request);
    const pid = await this.#launch(ground, request, local, root, slot);
    return { version: 1, data: { pid, slot } };
  }

  /** `absent` only when neither directory nor cgroup is left: processes hold a cgroup, files a directory. */
  async observe(name: string, signal: AbortSignal): Promise<Observation> {
    if (!this.#boxes.exists(name)) {
      if (this.#cgroups.exists(name)) return dead('only its cgroup is left');
      return { kind: 'absent', proof: 'it has no directory, no process and no cgroup on this machine' };
    }
    try {
      const status = await this.#boxes.agent(name).status({ signal });
      const commandsRunning = status.sessionsRunning + status.detachedRunning;
      const activity = { commandsRunning, idleMs: commandsRunning > 0 ? 0 : status.idleMs };
      return { kind: 'present', state: 'running', handle: this.#handle(name), activity, detail: null };
    } catch (error) {
      if (!(error instanceof AgentError)) throw error;
      if (this.#boxes.process(name) !== null && error.code !== 'unreachable') {
        return {
          kind: 'unknown',
          cause: `its process runs, and its agent does not answer: ${error.message}`,
        };
      }
      return dead(this.#boxes.lastWords(name));
    }
  }

  /** Ends every process, then removes cgroup, directory and id range. What is already gone is success. */
  async remove(name: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const exists = this.#boxes.exists(name);
    if (!exists && !this.#cgroups.exists(name)) return;
    if (exists) await this.#end(name);
    for (const pid of this.#cgroups.processes(name)) killIfThere(pid);
    const slot = exists ? (this.#boxes.read(name)?.slot ?? null) : null;
    const [isEmpty] = await Promise.all([
      this.#cgroups.remove(name),
      exists ? removeBox(this.#boxes.path(name)) : null,
    ]);
    if (!isEmpty) throw new ExtensionError('transient', `Processes of ${name} do not end.`);
    if (slot !== null) this.#slots.release(slot);
    this.#boxes.forget(name);
  }

  #handle(name: string): Handle {
    return {
      version: 1,
      data: { pid: this.#boxes.process(name), slot: this.#boxes.read(name)?.slot ?? null },
    };
  }

  async #imageRoot(ground: Ground, image: string, signal: AbortSignal): Promise<SandboxRoot> {
    return { kind: 'image', directory: await prepareImage(ground.imagesDirectory, image, signal) };
  }

  async #fillWorkspace(
    directory: string,
    local: LocalRequest,
    slot: number | null,
    { restore, signal }: ProvisionRequest,
  ): Promise<void> {
    const workspace = join(directory, 'workspace');
    mkdirSync(workspace, { mode: 0o755 });
    const ownerId = slot === null ? null : firstId(slot) + USER_ID_INSIDE;
    if (restore !== undefined) return restoreWorkspace(workspace, restore, ownerId, signal);
    if (local.repository === null) return;
    const source = await repositoryPath(local.repository);
    await copyTree(source, workspace, {
      ownerId,
      respectGitignore: local.respectGitignore,
      links: 'inside',
      signal,
    });
    if (ownerId !== null) await chown(workspace, ownerId, ownerId);
  }

  async #launch(
    ground: Ground,
    request: ProvisionRequest,
    local: LocalRequest,
    root: SandboxRoot,
    slot: number | null,
  ): Promise<number> {
    const directory = this.#boxes.path(request.name);
    const steps = boxSteps({
      sandboxDir: directory,
      workspaceName: 'workspace',
      homeName: 'home',
      etc: ground.etc,
      root,
      tmpBytes: local.tmpBytes,
      mode: slot === null ? 'single' : 'ranged',
    });
    const { pid } = await this.#launcher!.launch({
      cgroupFiles: this.#cgroups.create(request.name, request.spec.resources),
      sandboxDir: directory,
      ownedDirectories: ['workspace', 'home'],
      identity: slot === null ? { mode: 'single' } : { mode: 'ranged', base: firstId(slot) },
      boxSteps: steps,
      token: this.#boxes.token(request.name),
      deadlineMs: request.ownDeadlineMs,
      capMs: request.ownDeadlineCapMs,
      logLimitBytes: LAUNCH_LOG_BYTES,
    });
    return pid;
  }

  /** Kills the first process inside; the kernel ends all others with it, and it is gone after them. */
  async #end(name: string): Promise<void> {
    for (let attempt = 0; attempt < DEATH_TRIES; attempt += 1) {
      const first = this.#boxes.process(name);
      if (first === null) return;
      const ended = Promise.withResolvers<void>();
      const stopWatching = this.#launcher?.onEnd(first, ended.resolve);
      killIfThere(first);
      const look = this.#clock.sleep(attempt < QUICK_TRIES ? QUICK_LOOK_MS : DEATH_LOOK_MS);
      await Promise.race([ended.promise, look]);
      stopWatching?.();
    }
    throw new ExtensionError('transient', `The process of ${name} does not end.`);
  }
}

function dead(detail: string | null): Observation {
  return { kind: 'present', state: 'dead', handle: { version: 1, data: {} }, activity: null, detail };
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** The directory a repository input names. Refuses, in one sentence, what cannot be copied. */
export async function repositoryPath(path: string): Promise<string> {
  try {
    const resolved = await realpath(path);
    if ((await stat(resolved)).isDirectory()) return resolved;
    throw new ExtensionError('invalid', `The repository ${printable(path)} is not a directory.`);
  } catch (error) {
    if (error instanceof ExtensionError) throw error;
    throw new ExtensionError(
      'invalid',
      `The repository ${printable(path)} does not exist or cannot be read.`,
      { cause: error },
    );
  }
}
