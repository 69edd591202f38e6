/** Making, seeing and removing one sandbox. Every function may be repeated after a crash at any point. */
import { mkdirSync } from 'node:fs';
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
import type { Ground } from './ground.ts';
import { firstId, type IdentitySlots, USER_ID_INSIDE } from './identity.ts';
import { prepareImage } from './image.ts';
import type { Layers } from './layers.ts';
import { AgentError } from './native/agent-error.ts';
import { boxSteps, LAYER_STEP, type SandboxRoot, type Workspace } from './native/box-plan.ts';
import type { Launcher } from './native/launcher.ts';
import { removeBox } from './remove.ts';
import { makeWorkspace } from './workspace.ts';

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
  readonly #layers: Layers;
  readonly #clock: Clock;

  constructor(parts: {
    boxes: Boxes;
    cgroups: Cgroups;
    slots: IdentitySlots;
    /** Null where nothing can be started, only seen and removed. */
    launcher: Launcher | null;
    layers: Layers;
    clock: Clock;
  }) {
    this.#boxes = parts.boxes;
    this.#layers = parts.layers;
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
    const layer =
      slot === null || this.#layers.refusal !== null ? null : (request.restore?.snapshotId ?? null);
    this.#boxes.write(name, {
      epoch,
      tags: request.tags,
      environment,
      slot,
      layer,
      createdAtMs: this.#clock.nowMs(),
    });
    const root = local.image === null ? ground.hostRoot : await this.#imageRoot(ground, local.image, signal);
    const owner = { id: slot === null ? null : firstId(slot) + USER_ID_INSIDE, layer };
    const workspace = await makeWorkspace(directory, local, request, owner, this.#layers);
    try {
      const pid = await this.#launch(ground, request, local, { root, workspace, slot });
      return { version: 1, data: { pid, slot } };
    } catch (error) {
      if (layer === null || !isLayerRefusal(error)) throw error;
      this.#layers.refuse(error.message);
    }
    return this.make(ground, request, local);
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

  async #launch(
    ground: Ground,
    request: ProvisionRequest,
    local: LocalRequest,
    { root, workspace, slot }: { root: SandboxRoot; workspace: Workspace; slot: number | null },
  ): Promise<number> {
    const directory = this.#boxes.path(request.name);
    const steps = boxSteps({
      sandboxDir: directory,
      workspace,
      homeName: 'home',
      etc: ground.etc,
      root,
      tmpBytes: local.tmpBytes,
      mode: slot === null ? 'single' : 'ranged',
    });
    const { pid } = await this.#launcher!.launch({
      cgroupFiles: this.#cgroups.create(request.name, request.spec.resources),
      sandboxDir: directory,
      ownedDirectories: [workspace.kind === 'own' ? workspace.name : workspace.upper, 'home'],
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

/** The kernel or the file system cannot do it; a directory that is gone says nothing of that. */
function isLayerRefusal(error: unknown): error is AgentError {
  return error instanceof AgentError && error.code !== 'not_found' && error.message.startsWith(LAYER_STEP);
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
