import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { backendName, base32, SANDBOX_ID_BYTES, sandboxId } from '../../domain/ids.ts';
import {
  type Capabilities,
  type CreateExtension,
  type Degradation,
  type Estimate,
  type Extension,
  type ExtensionContext,
  ExtensionError,
  type Finding,
  type Handle,
  type HostTelemetry,
  type ListPage,
  type Observation,
  type ProvisionRequest,
  type Reachability,
  type Reference,
  type SandboxSpec,
  type Validation,
} from '../../ports/extension.ts';
import { BoxLife } from './box-life.ts';
import { Cgroups, type Controller, findCgroups, readCgroupFiles } from './cgroups.ts';
import { Boxes } from './client.ts';
import { type LocalConfig, readConfig, readRequest } from './config.ts';
import { fromAgent, fromSystem } from './errors.ts';
import { type Ground, prepareGround } from './ground.ts';
import { measureHost, namespaceFinding } from './host.ts';
import { IdentitySlots } from './identity.ts';
import { Layers } from './layers.ts';
import { Launcher } from './native/launcher.ts';
import { selfTest } from './self-test.ts';
import { LocalSessions } from './sessions.ts';
import { LocalSnapshots } from './snapshots.ts';
import { repositoryPath } from './workspace.ts';

const SELF_TEST_DEADLINE_MS = 30_000;

/** Limits of the spec that this machine cannot hold, with the reason. */
function unmetLimits(spec: SandboxSpec, cgroups: Cgroups): Degradation[] {
  const asked: [string, Controller, number | null][] = [
    ['memory_mb', 'memory', spec.resources.memoryMb],
    ['processes', 'pids', spec.resources.processes],
    ['cpu', 'cpu', spec.resources.cpu],
  ];
  return asked
    .filter(([, controller, limit]) => limit !== null && !cgroups.can(controller))
    .map(([rule, controller]) => ({
      rule,
      reason: `this user may not make ${controller} cgroups on this machine`,
    }));
}

class LocalExtension implements Extension {
  readonly id = 'ext.local';
  readonly title = 'This machine';
  readonly description =
    'Kernel namespaces, an own user range, a seccomp filter, cgroup limits and a resident agent inside.';
  readonly sessions: LocalSessions;
  readonly snapshots: LocalSnapshots;
  readonly #context: ExtensionContext;
  readonly #config: LocalConfig;
  readonly #boxes: Boxes;
  readonly #cgroups: Cgroups;
  readonly #slots: IdentitySlots;
  readonly #layers: Layers;
  readonly #busy = new Map<string, Promise<unknown>>();
  #ground: Promise<{ ground: Ground; life: BoxLife }> | null = null;
  #launcher: Launcher | null = null;

  constructor(context: ExtensionContext) {
    this.#context = context;
    this.#config = readConfig(context.environment);
    const boxesDirectory = join(context.directory, 'boxes');
    mkdirSync(boxesDirectory, { recursive: true, mode: 0o700 });
    this.#boxes = new Boxes(boxesDirectory, context.secret, context.clock);
    this.#cgroups = new Cgroups(findCgroups(readCgroupFiles()), context.clock);
    this.#slots = new IdentitySlots(join(context.directory, 'ids'), context.entropy);
    this.#slots.releaseAbandoned((name) => this.#boxes.exists(name));
    this.#cgroups.removeLeftovers((name) => this.#boxes.exists(name));
    this.sessions = new LocalSessions(this.#boxes);
    this.#layers = new Layers(join(context.directory, 'layers'), process.getuid?.() === 0);
    this.snapshots = new LocalSnapshots(this.#boxes, this.#layers);
  }

  async capabilities(): Promise<Capabilities> {
    const grade = (controller: Controller) => (this.#cgroups.can(controller) ? 'enforced' : 'unsupported');
    return {
      isolationLevels: ['process'],
      regions: ['local'],
      persistence: 'ephemeral',
      pricingModel: 'self-hosted',
      network: { deny: 'enforced', egressList: 'unsupported', allow: 'unsupported' },
      limits: { memory: grade('memory'), cpu: grade('cpu'), processes: grade('pids') },
      sessions: true,
      snapshots: true,
      ownDeadline: true,
      pause: false,
      meter: false,
      hostTelemetry: true,
      hosts: false,
    };
  }

  async health(): Promise<{ ok: boolean; reason: string | null }> {
    try {
      await this.#prepared();
      return { ok: true, reason: null };
    } catch (error) {
      if (!(error instanceof ExtensionError)) throw error;
      return { ok: false, reason: error.message };
    }
  }

  async validate(spec: SandboxSpec): Promise<Validation> {
    if (spec.isolationLevel !== 'process') {
      throw new ExtensionError(
        'unsupported',
        `ext.local isolates processes by namespaces; it has no ${spec.isolationLevel}.`,
      );
    }
    if (spec.network.default !== 'deny' || spec.network.egress.length > 0) {
      throw new ExtensionError(
        'unsupported',
        'ext.local gives no network at all; it cannot allow some of it.',
      );
    }
    if (spec.placement.host !== null && spec.placement.host !== 'localhost') {
      throw new ExtensionError('unsupported', 'ext.local runs on this machine only.');
    }
    const request = readRequest(spec, this.#config);
    if (request.repository !== null) await repositoryPath(request.repository);
    const degradations = unmetLimits(spec, this.#cgroups);
    const first = degradations[0];
    if (first === undefined || spec.resources.allowDegraded) return { degradations };
    throw new ExtensionError('unsupported', `The limit ${first.rule} cannot be enforced: ${first.reason}.`);
  }

  async estimate(): Promise<Estimate> {
    return { priceMicroUsdPerHour: 0, totalMicroUsd: 0 };
  }

  provision(request: ProvisionRequest): Promise<Handle> {
    return this.#alone(request.name, async () => {
      const { ground, life } = await this.#prepared();
      const local = readRequest(request.spec, this.#config);
      return life.make(ground, request, local);
    });
  }

  observe(reference: Reference, signal: AbortSignal): Promise<Observation> {
    return this.#life().observe(reference.name, signal);
  }

  async list(_cursor: string | null, signal: AbortSignal): Promise<ListPage> {
    if (signal.aborted) throw new ExtensionError('transient', 'The list was given up.');
    const nowMs = this.#context.clock.nowMs();
    const items = this.#boxes.names().map((name) => {
      const record = this.#boxes.read(name);
      return {
        name,
        tags: record?.tags ?? {},
        ageMs: record === null ? null : Math.max(0, nowMs - record.createdAtMs),
        handle: null,
      };
    });
    return { items, nextCursor: null, complete: true };
  }

  destroy(reference: Reference, signal: AbortSignal): Promise<void> {
    return this.#alone(reference.name, () => this.#life().remove(reference.name, signal));
  }

  async reachability(): Promise<Reachability> {
    return {
      ssh: null,
      remote_dir: '/workspace',
      host: 'localhost',
      compose_project: null,
      tunnel: null,
      tunnel_via: null,
      identity: null,
      ports: [],
      exec: true,
    };
  }

  async setOwnDeadline(reference: Reference, remainingMs: number, signal: AbortSignal): Promise<number> {
    try {
      return await this.#boxes.agent(reference.name).setDeadline(remainingMs, { signal });
    } catch (error) {
      throw fromAgent(error);
    }
  }

  hostTelemetry(): Promise<HostTelemetry> {
    return measureHost();
  }

  async diagnose(): Promise<readonly Finding[]> {
    const health = await this.health();
    const unmet = (['memory', 'pids', 'cpu'] as const).filter((controller) => !this.#cgroups.can(controller));
    return [
      namespaceFinding(),
      {
        check: 'isolation self-test',
        status: health.ok ? 'ok' : 'failed',
        detail: health.reason ?? 'every probe held',
        remedy: null,
      },
      {
        check: 'shared content of snapshots',
        status: this.#layers.refusal === null ? 'ok' : 'warning',
        detail:
          this.#layers.refusal === null
            ? 'restores share what they begin with'
            : `each restore copies: ${this.#layers.refusal}`,
        remedy: null,
      },
      {
        check: 'limits',
        status: unmet.length === 0 ? 'ok' : 'warning',
        detail:
          unmet.length === 0
            ? `cgroup version ${this.#cgroups.base?.version}`
            : `cannot be enforced: ${unmet.join(', ')}`,
        remedy:
          unmet.length === 0 ? null : 'run as root, or in a login session of systemd that delegates cgroups',
      },
    ];
  }

  async close(): Promise<void> {
    await this.#launcher?.close();
  }

  /** One thing at a time for one name, in the order asked. */
  async #alone<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
    const before = this.#busy.get(name) ?? Promise.resolve();
    const mine = before.catch(() => undefined).then(work);
    this.#busy.set(name, mine);
    try {
      return await mine;
    } catch (error) {
      throw fromSystem(error, 'A step on this machine');
    } finally {
      if (this.#busy.get(name) === mine) this.#busy.delete(name);
    }
  }

  /** Observing and removing need no working ground: they also serve where namespaces have been forbidden since. */
  #life(): BoxLife {
    return new BoxLife({
      boxes: this.#boxes,
      cgroups: this.#cgroups,
      slots: this.#slots,
      launcher: this.#launcher,
      layers: this.#layers,
      clock: this.#context.clock,
    });
  }

  #prepared(): Promise<{ ground: Ground; life: BoxLife }> {
    this.#ground ??= this.#prepare().catch((error: unknown) => {
      this.#ground = null;
      throw error;
    });
    return this.#ground;
  }

  async #prepare(): Promise<{ ground: Ground; life: BoxLife }> {
    const ground = await prepareGround(this.#context, (found) => this.#prove(found, this.#ready(found)));
    return { ground, life: this.#ready(ground) };
  }

  #ready(ground: Ground): BoxLife {
    this.#launcher ??= new Launcher({ agentPath: ground.agentPath });
    return this.#life();
  }

  /** Starts one sandbox and looks around in it. */
  async #prove(ground: Ground, life: BoxLife): Promise<void> {
    const { entropy, directory } = this.#context;
    const name = backendName(sandboxId(entropy.bytes(SANDBOX_ID_BYTES)), 1);
    const { signal } = new AbortController();
    const spec: SandboxSpec = {
      isolationLevel: 'process',
      network: { default: 'deny', egress: [] },
      resources: { cpu: null, memoryMb: null, processes: null, allowDegraded: true },
      inputs: {},
      placement: { host: null },
      configuration: {},
    };
    const request = {
      name,
      epoch: 1,
      spec,
      tags: { purpose: `self-test-${base32(entropy.bytes(4))}` },
      ownDeadlineMs: SELF_TEST_DEADLINE_MS,
      ownDeadlineCapMs: SELF_TEST_DEADLINE_MS,
      signal,
    };
    try {
      await life.make(ground, request, readRequest(spec, this.#config));
      const broken = await selfTest(this.sessions, { name, epoch: 1, handle: null }, directory, signal);
      if (broken !== null)
        throw new ExtensionError('transient', `The isolation self-test failed: ${broken}.`);
    } catch (error) {
      if (error instanceof ExtensionError && error.message.startsWith('The isolation')) throw error;
      const seen = await life.observe(name, signal);
      const words = seen.kind === 'present' ? seen.detail : null;
      throw new ExtensionError('transient', `This machine cannot isolate: ${words ?? describe(error)}`, {
        cause: error,
      });
    } finally {
      await life.remove(name, signal);
    }
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : 'no reason was given';
}

export const createExtension: CreateExtension = async (context) => new LocalExtension(context);
