/** A backend with hosts, over a map in memory. Its hosts can be made to fail, to fall silent, or to be full of load. */
import type { InstalledExtension } from '../../src/adapters/extension-registry/lazy-registry.ts';
import {
  type Capabilities,
  type CreateExtension,
  type Extension,
  ExtensionError,
  type HostState,
  type HostTelemetry,
} from '../../src/ports/extension.ts';

export const HOSTED_ID = 'ext.hosted';

const CAPABILITIES: Capabilities = {
  isolationLevels: ['container'],
  regions: [],
  persistence: 'ephemeral',
  pricingModel: 'self-hosted',
  network: { deny: 'enforced', egressList: 'unsupported', allow: 'enforced' },
  limits: { memory: 'enforced', cpu: 'enforced', processes: 'enforced' },
  sessions: false,
  snapshots: false,
  ownDeadline: false,
  pause: false,
  meter: false,
  hostTelemetry: true,
  hosts: true,
};

const TELEMETRY: HostTelemetry = {
  load_1m: 0.5,
  load_5m: 0.5,
  load_15m: 0.5,
  cpu_count: 4,
  mem_total_mb: 8_000,
  mem_available_mb: 6_000,
  disk_root_used_pct: 10,
  disk_root_avail_gb: 90,
  running_containers: 0,
  sandbox_containers: 0,
};

export class HostedWorld {
  /** Name → the host it is on. */
  readonly things = new Map<string, string>();
  readonly states = new Map<string, HostState>();
  /** Hosts on which nothing starts. */
  readonly failing = new Set<string>();
  /** Hosts that never answer `hostState`. */
  readonly silent = new Set<string>();
  /** Every host whose state or telemetry was asked for, in order. */
  readonly asked: string[] = [];
  readonly measured: (string | null)[] = [];
  /** Called before a sandbox is made. */
  onProvision: (host: string) => Promise<void> = async () => undefined;

  on(host: string): string[] {
    return [...this.things].filter(([, at]) => at === host).map(([name]) => name);
  }

  load(host: string, loadPerCpu: number): void {
    this.states.set(host, { ok: true, reason: null, loadPerCpu });
  }
}

function create(world: HostedWorld): CreateExtension {
  return async (context): Promise<Extension> => ({
    id: HOSTED_ID,
    title: 'Hosted',
    description: 'A backend with hosts.',
    capabilities: async () => CAPABILITIES,
    health: async () => ({ ok: true, reason: null }),
    async validate(spec) {
      if (spec.placement.host === null) throw new ExtensionError('invalid', 'it needs a host');
      if (spec.inputs.wish !== undefined) throw new ExtensionError('invalid', 'no wishes');
      return { degradations: [{ rule: 'placed', reason: `on ${spec.placement.host}` }] };
    },
    estimate: async () => ({ priceMicroUsdPerHour: 0, totalMicroUsd: 0 }),
    async provision({ name, spec }) {
      const host = spec.placement.host;
      if (host === null || (await context.hosts.get(host)) === null) {
        throw new ExtensionError('invalid', `the host ${host} is not known`);
      }
      await world.onProvision(host);
      if (world.failing.has(host)) throw new ExtensionError('capacity', `${host} starts nothing`);
      world.things.set(name, host);
      return { version: 1, data: { host } };
    },
    async observe({ name }) {
      const host = world.things.get(name);
      if (host === undefined) return { kind: 'absent', proof: 'every host was asked' };
      const handle = { version: 1, data: { host } };
      return { kind: 'present', state: 'running', handle, activity: null, detail: null };
    },
    async list() {
      const items = [...world.things.keys()].map((name) => ({ name, tags: {}, ageMs: null, handle: null }));
      return { items, nextCursor: null, complete: true };
    },
    async destroy({ name }) {
      world.things.delete(name);
    },
    async reachability({ handle }) {
      return {
        ssh: null,
        remote_dir: null,
        host: String(handle?.data.host),
        compose_project: null,
        tunnel: null,
        tunnel_via: null,
        identity: null,
        ports: [],
        exec: false,
      };
    },
    async hostTelemetry(host) {
      world.measured.push(host?.name ?? null);
      return TELEMETRY;
    },
    async hostState(host, signal) {
      world.asked.push(host.name);
      if (world.silent.has(host.name)) await context.clock.sleep(3_600_000, signal);
      return world.states.get(host.name) ?? { ok: true, reason: null, loadPerCpu: 0 };
    },
    close: async () => undefined,
  });
}

/** `changed` makes another one of it, such as one that can do more. */
export function hostedExtension(
  world: HostedWorld,
  changed: (made: Extension) => Extension = (made) => made,
): InstalledExtension {
  return {
    summary: { id: HOSTED_ID, title: 'Hosted', description: 'A backend with hosts.', endsWithMachine: false },
    load: async () => ({ createExtension: async (context) => changed(await create(world)(context)) }),
  };
}
