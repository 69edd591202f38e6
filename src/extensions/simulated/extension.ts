/** `ext.simulated`: a backend that keeps its own truth and misbehaves on request. */
import { parseBackendName } from '../../domain/ids.ts';
import {
  type Capabilities,
  type CreateExtension,
  type Extension,
  ExtensionError,
  type Handle,
  type Listed,
  type ListPage,
  type Observation,
  type ProvisionRequest,
  type Reachability,
  type Reference,
} from '../../ports/extension.ts';
import { createClient, NO_TARGET, type SimulatedClient } from './client.ts';
import { readConfiguration, readSpecConfiguration, type SimulatedConfiguration } from './config.ts';
import { saysGone } from './errors.ts';
import { createSessions } from './sessions.ts';
import { connectBackend } from './transport.ts';
import {
  DoneSchema,
  GrantedSchema,
  HealthSchema,
  LookupSchema,
  ProvisionedSchema,
  UsageSchema,
  WireListSchema,
  type WireThing,
} from './wire.ts';

const HANDLE_VERSION = 1;
const HOUR_MS = 3_600_000;
const CURSOR = /^([0-9]{1,9}):(.{1,200})$/;

const CAPABILITIES: Capabilities = {
  isolationLevels: ['process', 'container', 'gvisor', 'microvm', 'vm'],
  regions: ['local'],
  persistence: 'ephemeral',
  pricingModel: 'metered',
  network: { deny: 'enforced', egressList: 'enforced', allow: 'enforced' },
  limits: { memory: 'enforced', cpu: 'enforced', processes: 'enforced' },
  sessions: true,
  snapshots: false,
  ownDeadline: true,
  pause: false,
  meter: true,
  hostTelemetry: false,
  hosts: false,
};

export const createExtension: CreateExtension = async (context) => {
  const configuration = readConfiguration(context.environment, context.directory);
  const backend = connectBackend(context, configuration);
  const client = createClient(backend, context.clock, configuration.requestTimeoutMs);
  return build(client, configuration, createSessions(client, context.clock));
};

function build(
  client: SimulatedClient,
  configuration: SimulatedConfiguration,
  sessions: NonNullable<Extension['sessions']>,
): Extension {
  return {
    id: 'ext.simulated',
    title: 'Simulated backend',
    description: 'Keeps its own truth and bill, and does every fault on request, to try fault handling with.',
    capabilities: async () => CAPABILITIES,
    health: (signal) => health(client, signal),
    async validate(spec) {
      if (!CAPABILITIES.isolationLevels.includes(spec.isolationLevel)) {
        throw new ExtensionError('unsupported', `isolation level ${spec.isolationLevel} is not known here`);
      }
      readSpecConfiguration(spec.configuration);
      return { degradations: [] };
    },
    async estimate(spec, durationMs) {
      const own = readSpecConfiguration(spec.configuration).priceMicroUsdPerHour;
      const priceMicroUsdPerHour = own ?? configuration.priceMicroUsdPerHour;
      const totalMicroUsd = Math.ceil((priceMicroUsdPerHour * Math.max(0, durationMs)) / HOUR_MS);
      return { priceMicroUsdPerHour, totalMicroUsd };
    },
    provision: (request) => provision(client, configuration, request),
    observe: (reference, signal) => observe(client, reference, signal),
    list: (cursor, signal) => list(client, cursor, signal),
    destroy: (reference, signal) => destroy(client, reference, signal),
    reachability: async (reference) => reachability(reference),
    close: () => client.close(),
    sessions,
    async setOwnDeadline(reference, remainingMs, signal) {
      const answer = await client.request(
        'setOwnDeadline',
        reference,
        { remainingMs },
        GrantedSchema,
        signal,
      );
      return answer.grantedMs;
    },
    async meter(reference, signal) {
      const usage = await client.request('meter', reference, {}, UsageSchema, signal);
      if (usage.seconds >= 0 && usage.costMicroUsd >= 0) return usage;
      throw new ExtensionError('bug', 'the simulated backend reported a negative usage');
    },
  };
}

function handleOf(id: string): Handle {
  return { version: HANDLE_VERSION, data: { id } };
}

async function health(client: SimulatedClient, signal: AbortSignal) {
  try {
    return await client.request('health', NO_TARGET, {}, HealthSchema, signal);
  } catch (error) {
    return {
      ok: false,
      reason: error instanceof Error ? error.message : 'the simulated backend did not answer',
    };
  }
}

async function provision(
  client: SimulatedClient,
  configuration: SimulatedConfiguration,
  request: ProvisionRequest,
): Promise<Handle> {
  const { signal, name, epoch, spec, ...rest } = request;
  const { priceMicroUsdPerHour, ...own } = readSpecConfiguration(spec.configuration);
  const price = priceMicroUsdPerHour ?? configuration.priceMicroUsdPerHour;
  const body = { ...rest, ...own, priceMicroUsdPerHour: price, spec };
  try {
    const made = await client.request('provision', { name, epoch }, body, ProvisionedSchema, signal);
    if (made.name === name && made.epoch === epoch) return handleOf(made.id);
    throw new ExtensionError('ambiguous', 'the simulated backend answered about another thing');
  } catch (error) {
    if (!(error instanceof ExtensionError) || error.kind !== 'conflict') throw error;
    const { items } = await client.request('observe', { name, epoch }, {}, LookupSchema, signal);
    const own = items.find((item) => item.name === name && item.epoch === epoch);
    if (own === undefined) throw error;
    return handleOf(own.id);
  }
}

/** By name, never by id: ids are reused, and a handle may be missing. */
async function observe(
  client: SimulatedClient,
  reference: Reference,
  signal: AbortSignal,
): Promise<Observation> {
  try {
    const { items, lagMs } = await client.request('observe', reference, {}, LookupSchema, signal);
    const ours = items.filter((item) => item.name === reference.name && item.epoch === reference.epoch);
    if (ours.length > 0) return present(ours);
    if (items.length > 0) return { kind: 'unknown', cause: 'the answer was about other things' };
    if (lagMs > 0) return { kind: 'unknown', cause: `the view lags behind by up to ${Math.ceil(lagMs)} ms` };
    return { kind: 'absent', proof: 'a complete look-up by name and epoch found nothing' };
  } catch (error) {
    if (!(error instanceof ExtensionError)) throw error;
    return { kind: 'unknown', cause: `${error.kind}: ${error.message}` };
  }
}

function present(items: readonly WireThing[]): Observation {
  const best = items.find((item) => item.state === 'running') ?? items[0]!;
  return {
    kind: 'present',
    state: best.state,
    handle: handleOf(best.id),
    activity: { commandsRunning: best.commandsRunning, idleMs: best.idleMs },
    detail: items.length > 1 ? `${items.length} things have this name` : best.detail,
  };
}

/** The cursor carries how many items were seen, so that a missing page or a loop shows at the end. */
async function list(client: SimulatedClient, cursor: string | null, signal: AbortSignal): Promise<ListPage> {
  const match = cursor === null ? null : CURSOR.exec(cursor);
  if (cursor !== null && match === null)
    throw new ExtensionError('invalid', 'not a cursor of this extension');
  const body = match === null ? {} : { cursor: match[2] };
  const page = await client.request('list', NO_TARGET, body, WireListSchema, signal);
  const seen = Number(match?.[1] ?? 0) + page.items.length;
  const loops =
    page.next !== null && (seen > page.total || page.next === match?.[2] || page.items.length === 0);
  const ends = page.next === null || loops;
  return {
    items: page.items.flatMap(listed),
    nextCursor: ends ? null : `${seen}:${page.next}`,
    complete: ends ? !loops && seen >= page.total : true,
  };
}

function listed(item: WireThing): Listed[] {
  if (parseBackendName(item.name) === null) return [];
  return [{ name: item.name, tags: item.tags, ageMs: item.ageMs, handle: handleOf(item.id) }];
}

async function destroy(client: SimulatedClient, reference: Reference, signal: AbortSignal): Promise<void> {
  try {
    await client.request('destroy', reference, {}, DoneSchema, signal);
  } catch (error) {
    if (!saysGone(error)) throw error; // what is already gone is success
  }
}

function reachability(_reference: Reference): Reachability {
  return {
    ssh: null,
    remote_dir: null,
    host: null,
    compose_project: null,
    tunnel: null,
    tunnel_via: null,
    identity: null,
    ports: [],
    exec: true,
  };
}
