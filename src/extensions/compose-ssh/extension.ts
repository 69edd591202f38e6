import { isDeepStrictEqual } from 'node:util';
import { destinationText, type Host } from '../../domain/host/host.ts';
import {
  type Capabilities,
  type CreateExtension,
  type Estimate,
  type Extension,
  type ExtensionContext,
  ExtensionError,
  type Handle,
  type HostState,
  type HostTelemetry,
  type Listed,
  type ListPage,
  type Observation,
  type ProvisionRequest,
  type Reachability,
  type Reference,
  type SandboxSpec,
  type Validation,
} from '../../ports/extension.ts';
import { HostClient, placeOf } from './client.ts';
import { type ComposeConfig, readConfig, readRequest } from './config.ts';
import { lastWords } from './errors.ts';
import { handleOf, readHandle, UNRECORDED } from './handle.ts';
import { listed } from './listing.ts';
import { composeText, makeStack, recordOf, recordText } from './make-stack.ts';
import { restoreStack } from './restore.ts';
import { ComposeSessions, type PlacedStack } from './sessions.ts';
import { ComposeSnapshots } from './snapshots.ts';
import { planStack, refuseUnkeepable } from './stack.ts';
import { absent, type StackStatus, stateOf } from './status.ts';

const stateIn = (status: StackStatus) => stateOf(status, new Set(status.record?.finishing ?? []));

class ComposeExtension implements Extension {
  readonly id = 'ext.compose-ssh';
  readonly title = 'Compose stacks on your hosts';
  readonly description =
    "Docker or Podman Compose on a host over SSH, or on this machine's engine, with a reaper of its own on the host.";
  readonly sessions: ComposeSessions;
  readonly snapshots: ComposeSnapshots;
  readonly #context: ExtensionContext;
  readonly #config: ComposeConfig;
  /** A host may be changed by its operator; the link stays the same while the way there does. */
  readonly #clients = new Map<string, HostClient>();

  constructor(context: ExtensionContext) {
    this.#context = context;
    this.#config = readConfig(context.environment);
    this.sessions = new ComposeSessions((reference) => this.#placed(reference), context.clock);
    this.snapshots = new ComposeSnapshots((reference) => this.#placed(reference));
  }

  async capabilities(): Promise<Capabilities> {
    return {
      isolationLevels: ['process', 'container'],
      regions: ['hosts'],
      persistence: 'ephemeral',
      pricingModel: 'self-hosted',
      network: { deny: 'enforced', egressList: 'unsupported', allow: 'enforced' },
      limits: { memory: 'enforced', cpu: 'enforced', processes: 'enforced' },
      sessions: true,
      snapshots: true,
      ownDeadline: true,
      pause: false,
      meter: false,
      hostTelemetry: true,
      hosts: true,
    };
  }

  /** Each host has a state of its own; what is in this process is always ready. */
  async health(): Promise<{ ok: boolean; reason: string | null }> {
    return { ok: true, reason: null };
  }

  async validate(spec: SandboxSpec): Promise<Validation> {
    refuseUnkeepable(spec);
    const request = readRequest(spec);
    if (!spec.restored) await planStack(request, this.#config);
    return { degradations: [] };
  }

  async estimate(): Promise<Estimate> {
    return { priceMicroUsdPerHour: 0, totalMicroUsd: 0 };
  }

  async provision(request: ProvisionRequest): Promise<Handle> {
    const client = await this.#client(request.spec.placement.host);
    const { restore } = request;
    const planned = restore === undefined ? await planStack(readRequest(request.spec), this.#config) : null;
    const place = placeOf(client.host, request.name);
    const content =
      planned === null
        ? { record: recordText({ ...UNRECORDED, tags: request.tags }), compose: '' }
        : {
            record: recordText(recordOf({ request, planned })),
            compose: composeText(place, { request, planned }),
          };
    if (!(await client.prepare(place, request, content))) {
      const adopted = await this.#adoptOrRemove(client, request);
      if (adopted !== null) return adopted;
      if (!(await client.prepare(place, request, content))) {
        throw new ExtensionError('transient', `What ${request.name} left there comes back.`);
      }
    }
    const record =
      planned === null
        ? await restoreStack(client, place, { request, config: this.#config, source: restore! })
        : await makeStack(client, place, { request, planned });
    return handleOf({ host: client.host.name, ...record });
  }

  async observe(reference: Reference, signal: AbortSignal): Promise<Observation> {
    const hosts = await this.#hostsOf(reference);
    let proof = 'no host of this installation has ever been asked for it';
    for (const host of hosts) {
      const seen = await this.#observeOn(host, reference.name, signal);
      if (seen.kind !== 'absent') return seen;
      proof = seen.proof;
    }
    return { kind: 'absent', proof };
  }

  async list(_cursor: string | null, signal: AbortSignal): Promise<ListPage> {
    const hosts = await this.#context.hosts.list();
    const answers = await Promise.allSettled(hosts.map((host) => this.#listOn(host, signal)));
    const items = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    const complete = answers.every(({ status }) => status === 'fulfilled');
    if (!complete && items.length === 0 && hosts.length === 1) {
      throw (answers[0] as PromiseRejectedResult).reason;
    }
    return { items, nextCursor: null, complete };
  }

  async destroy(reference: Reference, signal: AbortSignal): Promise<void> {
    for (const host of await this.#hostsOf(reference)) {
      await this.#clientOf(host).destroy(placeOf(host, reference.name), signal);
    }
    this.sessions.forget(reference.name);
  }

  async reachability(reference: Reference): Promise<Reachability> {
    const { host, ports } = readHandle(reference.handle);
    const known = await this.#host(host);
    return {
      ssh: known.ssh === null ? null : destinationText(known.ssh),
      remote_dir: placeOf(known, reference.name).directory,
      host,
      compose_project: reference.name,
      tunnel: null,
      tunnel_via: null,
      identity: null,
      ports,
      exec: true,
    };
  }

  async setOwnDeadline(reference: Reference, remainingMs: number, signal: AbortSignal): Promise<number> {
    const client = this.#clientOf(await this.#host(readHandle(reference.handle).host));
    return client.arm(placeOf(client.host, reference.name), remainingMs, null, signal);
  }

  async hostState(host: Host, signal: AbortSignal): Promise<HostState> {
    const { hindrance, telemetry } = await this.#clientOf(host).probe(signal);
    return {
      ok: hindrance === null,
      reason: hindrance,
      loadPerCpu: telemetry.load_1m / Math.max(1, telemetry.cpu_count),
    };
  }

  async hostTelemetry(host: Host | null, signal: AbortSignal): Promise<HostTelemetry> {
    if (host === null) throw new ExtensionError('invalid', 'Name the host to look at.');
    return (await this.#clientOf(host).probe(signal)).telemetry;
  }

  async close(): Promise<void> {
    this.#clients.clear();
  }

  /** What is there under the name: ours and running is taken, anything else is removed. */
  async #adoptOrRemove(
    client: HostClient,
    { name, epoch, signal }: ProvisionRequest,
  ): Promise<Handle | null> {
    const place = placeOf(client.host, name);
    const before = await client.status(place, signal);
    if (before.epoch !== null && before.epoch !== epoch) {
      throw new ExtensionError('conflict', `${name} exists there in incarnation ${before.epoch}.`);
    }
    if (before.record !== null && stateIn(before).state === 'running') {
      return handleOf({ host: client.host.name, ...before.record });
    }
    await client.destroy(place, signal);
    return null;
  }

  async #observeOn(host: Host, name: string, signal: AbortSignal): Promise<Observation> {
    const client = this.#clientOf(host);
    const status = await client.status(placeOf(host, name), signal);
    const nothing = absent(status);
    if (nothing !== null) return nothing;
    const { state, detail, culprits } = stateIn(status);
    const words = culprits.length === 0 ? '' : lastWords(await client.lastWords(culprits, signal));
    return {
      kind: 'present',
      state,
      handle: handleOf({ host: host.name, ...(status.record ?? UNRECORDED) }),
      activity: this.sessions.activity(name),
      detail: words === '' ? detail : `${detail}; it said: ${words}`,
    };
  }

  async #listOn(host: Host, signal: AbortSignal): Promise<readonly Listed[]> {
    return listed(await this.#clientOf(host).list(signal), host.name);
  }

  /** Where a thing is, or could be while no answer has said so. */
  async #hostsOf(reference: Reference): Promise<readonly Host[]> {
    const name = reference.handle === null ? reference.host : readHandle(reference.handle).host;
    return name === null || name === undefined ? this.#context.hosts.list() : [await this.#host(name)];
  }

  async #host(name: string): Promise<Host> {
    const host = await this.#context.hosts.get(name);
    if (host !== null) return host;
    throw new ExtensionError(
      'transient',
      `Host ${name} is not registered any more; add it again to reach what is there.`,
    );
  }

  async #client(name: string | null): Promise<HostClient> {
    if (name === null)
      throw new ExtensionError('invalid', 'No host was chosen; register one with: sandboxer hosts add');
    return this.#clientOf(await this.#host(name));
  }

  #clientOf(host: Host): HostClient {
    const link = this.#context.hosts.link(host);
    const known = this.#clients.get(host.name);
    if (known?.link === link && isDeepStrictEqual(known.host, host)) return known;
    const client = new HostClient(host, link);
    this.#clients.set(host.name, client);
    return client;
  }

  async #placed(reference: Reference): Promise<PlacedStack> {
    if (reference.handle !== null) {
      const { host, service, pauseMaxS } = readHandle(reference.handle);
      return { client: this.#clientOf(await this.#host(host)), name: reference.name, service, pauseMaxS };
    }
    for (const host of await this.#hostsOf(reference)) {
      const client = this.#clientOf(host);
      const { record } = await client.status(placeOf(host, reference.name), new AbortController().signal);
      if (record === null) continue;
      const { service, pauseMaxS } = record;
      return { client, name: reference.name, service, pauseMaxS };
    }
    throw new ExtensionError('transient', 'No host has the stack.');
  }
}

export const createExtension: CreateExtension = async (context) => new ComposeExtension(context);
