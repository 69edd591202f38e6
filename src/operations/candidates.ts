/** What is known of each venue that a profile may run at: asked of extensions, hosts and the store, in parallel. */
import { candidateExtensions, type Profile } from '../domain/profile/profile.ts';
import { type Placement, placeHosts } from '../domain/routing/placement.ts';
import type { CandidateFacts } from '../domain/routing/route.ts';
import { type Venue, venueKey } from '../domain/routing/venue.ts';
import type { EngineContext } from '../engine/context.ts';
import { slotsFree } from '../engine/slots.ts';
import { termsOf } from '../engine/terms.ts';
import { type Degradation, type Extension, ExtensionError, type SandboxSpec } from '../ports/extension.ts';
import type { HostEntry } from '../ports/host-directory.ts';
import { askedHost } from './host-choice.ts';

/** The reason of an extension with hosts where there are none. */
export const NO_HOST = 'no host is registered';
/** The reason of one without hosts, of a request that names a host. */
export const HAS_NO_HOSTS = 'has no hosts, and the request names one';

export interface Candidate {
  readonly facts: CandidateFacts;
  readonly degradations: readonly Degradation[];
  /** Why the extension cannot do what was asked, or null. */
  readonly refusal: ExtensionError | null;
}

export interface CandidateRequest {
  readonly profile: Profile;
  /** Its placement is filled in for each candidate. */
  readonly spec: SandboxSpec;
  readonly ttlMs: number;
  readonly host: string | null;
}

/** What does not depend on the host. */
interface Backend {
  readonly extension: Extension;
  readonly selfHosted: boolean;
  readonly unhealthyReason: string | null;
}

const NOTHING_KNOWN: Omit<CandidateFacts, 'extensionId' | 'host'> = {
  leftOutReason: null,
  placementRank: 0,
  loadPerCpu: null,
  installed: true,
  selfHosted: false,
  unhealthyReason: null,
  unsupportedReason: null,
  coolingUntilMs: null,
  slotsFree: 0,
  priceMicroUsdPerHour: 0,
  totalMicroUsd: 0,
  readyMs: null,
};

function leftOut(venue: Venue, facts: Partial<CandidateFacts>): Candidate {
  return { facts: { ...NOTHING_KNOWN, ...venue, ...facts }, degradations: [], refusal: null };
}

type Offer = Pick<Candidate, 'degradations' | 'refusal'> &
  Pick<CandidateFacts, 'priceMicroUsdPerHour' | 'totalMicroUsd'>;

async function offerOf(
  extension: Extension,
  spec: SandboxSpec,
  ttlMs: number,
  hostMicroUsdPerHour: number,
): Promise<Offer> {
  try {
    if (spec.restored && extension.snapshots === undefined)
      throw new ExtensionError('unsupported', `${extension.id} cannot restore snapshots.`);
    return { ...(await termsOf(extension, spec, ttlMs, hostMicroUsdPerHour)), refusal: null };
  } catch (error) {
    if (!(error instanceof ExtensionError)) throw error;
    return { degradations: [], refusal: error, priceMicroUsdPerHour: 0, totalMicroUsd: 0 };
  }
}

async function judge(
  engine: EngineContext,
  request: CandidateRequest,
  backend: Backend,
  venue: Venue,
  host: { readonly slots: number; readonly microUsdPerHour: number; readonly facts: Partial<CandidateFacts> },
): Promise<Candidate> {
  const spec = { ...request.spec, placement: { host: venue.host } };
  const [{ degradations, refusal, ...price }, free] = await Promise.all([
    offerOf(backend.extension, spec, request.ttlMs, host.microUsdPerHour),
    slotsFree(engine, venue, host.slots),
  ]);
  const facts: CandidateFacts = {
    ...NOTHING_KNOWN,
    ...venue,
    ...price,
    selfHosted: backend.selfHosted,
    unhealthyReason: backend.unhealthyReason,
    unsupportedReason: refusal?.message ?? null,
    coolingUntilMs: engine.routing.coolingUntilMs(venueKey(venue)),
    slotsFree: free,
    readyMs: engine.routing.readyMs(venueKey(venue)),
    ...host.facts,
  };
  return { facts, degradations, refusal };
}

async function judgeHost(
  engine: EngineContext,
  request: CandidateRequest,
  backend: Backend,
  placement: Placement,
  entry: HostEntry | undefined,
): Promise<Candidate> {
  const venue = { extensionId: backend.extension.id, host: placement.host };
  const draining = entry?.host.draining === true ? 'is draining: nothing new is placed there' : null;
  const leftOutReason = placement.leftOut ?? draining;
  if (leftOutReason !== null || entry === undefined) return leftOut(venue, { leftOutReason });
  const { host } = entry;
  const state = await engine.hostStates.state(backend.extension, host);
  const hostReason = state.ok ? null : (state.reason ?? 'it cannot take work');
  return judge(engine, request, backend, venue, {
    slots: host.slots,
    microUsdPerHour: host.price_micro_usd_per_hour,
    facts: {
      placementRank: placement.rank,
      loadPerCpu: state.loadPerCpu,
      unhealthyReason: backend.unhealthyReason ?? hostReason,
    },
  });
}

async function judgeHosts(
  engine: EngineContext,
  request: CandidateRequest,
  backend: Backend,
): Promise<readonly Candidate[]> {
  const entries = await engine.hosts.entries();
  const placements = placeHosts({
    asked: askedHost(engine, request.host, entries),
    prefer: request.profile.placement.prefer,
    fallback: request.profile.placement.fallback,
    registered: entries.filter(({ source }) => source !== 'ad_hoc').map(({ host }) => host.name),
  });
  if (placements.length === 0) {
    const venue = { extensionId: backend.extension.id, host: null };
    return [leftOut(venue, { leftOutReason: NO_HOST })];
  }
  const byName = new Map(entries.map((entry) => [entry.host.name, entry]));
  return Promise.all(
    placements.map((placement) => judgeHost(engine, request, backend, placement, byName.get(placement.host))),
  );
}

async function judgeExtension(
  engine: EngineContext,
  request: CandidateRequest,
  extensionId: string,
  signal: AbortSignal,
): Promise<readonly Candidate[]> {
  const venue = { extensionId, host: null };
  if (!engine.extensions.has(extensionId)) return [leftOut(venue, { installed: false })];
  const extension = await engine.extensions.load(extensionId);
  const [capabilities, health] = await Promise.all([extension.capabilities(), extension.health(signal)]);
  const backend: Backend = {
    extension,
    selfHosted: capabilities.pricingModel === 'self-hosted',
    unhealthyReason: health.ok ? null : (health.reason ?? 'it is not healthy'),
  };
  if (capabilities.hosts) return judgeHosts(engine, request, backend);
  const leftOutReason = request.host === null ? null : HAS_NO_HOSTS;
  const slots = engine.settings.slotsPerExtension;
  return [
    await judge(engine, request, backend, venue, { slots, microUsdPerHour: 0, facts: { leftOutReason } }),
  ];
}

/** Every venue of a profile's extensions, in the profile's order. */
export async function judgeCandidates(
  engine: EngineContext,
  request: CandidateRequest,
  signal: AbortSignal,
): Promise<readonly Candidate[]> {
  const extensionIds = candidateExtensions(request.profile);
  const judged = await Promise.all(extensionIds.map((id) => judgeExtension(engine, request, id, signal)));
  return judged.flat();
}
