/** From a request and a profile to a spec and a route. Reads, asks and decides; changes nothing. */
import { parseDurationMs } from '../domain/duration.ts';
import { SandboxerError } from '../domain/errors.ts';
import { type Profile, profileTimes } from '../domain/profile/profile.ts';
import { decideRoute, passOverFirst, type RouteDecision } from '../domain/routing/route.ts';
import { venueKey } from '../domain/routing/venue.ts';
import { inWords } from '../domain/text.ts';
import type { EngineContext } from '../engine/context.ts';
import type { Degradation, SandboxSpec } from '../ports/extension.ts';
import { type Candidate, HAS_NO_HOSTS, judgeCandidates, NO_HOST } from './candidates.ts';
import { checkHost } from './host-choice.ts';

export interface PlanRequest {
  readonly inputs: Readonly<Record<string, string>>;
  readonly host: string | null;
  readonly ttl: string | undefined;
  /** It begins with a snapshot, which takes the place of `repo`. */
  readonly restored?: boolean;
}

/** One venue where it can be placed, and what that means for its record. */
export interface Choice {
  readonly extensionId: string;
  readonly spec: SandboxSpec;
  /** The decision with this venue chosen: those before it are left out. */
  readonly route: RouteDecision;
  readonly degradations: readonly Degradation[];
  readonly estimateMicroUsd: number;
}

export interface Plan {
  /** Best first, at least one. */
  readonly choices: readonly Choice[];
  readonly ttlMs: number;
}

function requireInputs(profile: Profile, { inputs, restored }: PlanRequest): void {
  const missing = Object.entries(profile.inputs)
    .filter(([name, input]) => input.required && inputs[name] === undefined && !(restored && name === 'repo'))
    .map(([name]) => name);
  if (missing.length === 0) return;
  const described = missing.map((name) => `${name} (${profile.inputs[name]!.description})`);
  throw new SandboxerError('missing_input', `${profile.id} needs ${inWords(described)}.`, {
    nextStep: `Add ${missing.map((name) => `--input ${name}=…`).join(' ')}`,
  });
}

function requestedTtlMs(profile: Profile, ttl: string | undefined): number {
  const { ttlMs, ttlMaxMs } = profileTimes(profile);
  if (ttl === undefined) return ttlMs;
  const askedMs = parseDurationMs(ttl);
  if (askedMs <= ttlMaxMs) return askedMs;
  throw new SandboxerError(
    'ttl_over_maximum',
    `${ttl} is longer than the ${profile.ttl.max} that ${profile.id} allows.`,
    {
      nextStep: `Ask for --ttl ${profile.ttl.max} or less, or write a profile with a longer ttl.max.`,
    },
  );
}

/** Without a placement: that is what routing finds. */
export function specOf(profile: Profile, request: PlanRequest): SandboxSpec {
  return {
    isolationLevel: profile.isolation.level,
    network: profile.network,
    resources: {
      cpu: profile.resources.cpu,
      memoryMb: profile.resources.memory_mb,
      processes: profile.resources.processes,
      allowDegraded: profile.resources.allow_degraded,
    },
    inputs: request.inputs,
    placement: { host: null },
    configuration: profile.config,
    access: {
      tunnelVia: profile.reachability.tunnel ?? null,
      identity: profile.reachability.identity ?? null,
    },
    ...(request.restored ? { restored: true } : {}),
  };
}

async function judgeAll(engine: EngineContext, profile: Profile, request: PlanRequest, signal: AbortSignal) {
  const ttlMs = requestedTtlMs(profile, request.ttl);
  const spec = specOf(profile, request);
  await checkHost(engine, request.host);
  const candidates = await judgeCandidates(engine, { profile, spec, ttlMs, host: request.host }, signal);
  const maxUsd = profile.route?.max_cost_per_hour_usd ?? null;
  const route = decideRoute(
    candidates.map(({ facts }) => facts),
    {
      strategy: profile.route?.strategy ?? 'explicit',
      maxMicroUsdPerHour: maxUsd === null ? null : Math.round(maxUsd * 1e6),
      forceCloud: engine.settings.forceCloud,
      nowMs: engine.clock.nowMs(),
    },
  );
  return { ttlMs, spec, candidates, route };
}

/** The route as it would be decided now, refusals included; throws only for a request that is itself wrong. */
export async function explainRoute(
  engine: EngineContext,
  profile: Profile,
  request: PlanRequest,
  signal: AbortSignal,
): Promise<RouteDecision> {
  return (await judgeAll(engine, profile, request, signal)).route;
}

/** Those that the request and the profile are for. */
function inQuestion(candidates: readonly Candidate[]): readonly Candidate[] {
  return candidates.filter(({ facts }) => facts.leftOutReason === null);
}

/** The one reason of a profile that names one extension, where the extension itself gives it. */
function refusalOfOnlyExtension(
  engine: EngineContext,
  profile: Profile,
  candidates: readonly Candidate[],
): SandboxerError | null {
  const [{ facts }] = candidates as [Candidate];
  if (candidates.some((other) => other.facts.extensionId !== facts.extensionId)) return null;
  if (!facts.installed) {
    const known = engine.extensions.summaries().map(({ id }) => id);
    return new SandboxerError(
      'unknown_extension',
      `${profile.id} names ${facts.extensionId}, which is not installed.`,
      { nextStep: `Installed are ${inWords(known)}.` },
    );
  }
  const asked = inQuestion(candidates);
  const refusal = asked[0]?.refusal ?? null;
  if (refusal === null || asked.some((other) => other.refusal === null)) return null;
  const code = refusal.kind === 'invalid' ? 'invalid_input' : 'unsupported';
  return new SandboxerError(code, refusal.message, { cause: refusal });
}

function noCandidate(
  engine: EngineContext,
  profile: Profile,
  candidates: readonly Candidate[],
  route: RouteDecision,
): SandboxerError {
  const refused = refusalOfOnlyExtension(engine, profile, candidates);
  if (refused !== null) return refused;
  const reasons = route.candidates.map(
    ({ extension_id, host, reason }) =>
      `${venueKey({ extensionId: extension_id, host })}: ${reason?.replace(/\.$/, '')}`,
  );
  const asked = inQuestion(candidates);
  const full = asked.length > 0 && asked.every(({ facts }) => facts.slotsFree <= 0 && facts.installed);
  return new SandboxerError(
    full ? 'quota_exceeded' : 'no_candidate',
    `No backend can take ${profile.id} now (${reasons.join('; ')}).`,
    { nextStep: whatToDo(full, candidates) },
  );
}

function whatToDo(full: boolean, candidates: readonly Candidate[]): string {
  const hosts = candidates.some(({ facts }) => facts.host !== null);
  const all = (reason: string) => candidates.every(({ facts }) => facts.leftOutReason === reason);
  if (all(NO_HOST)) return 'Register one: sandboxer hosts add NAME --ssh user@host';
  if (all(HAS_NO_HOSTS)) return 'Leave the host out, or choose a profile whose backend has hosts.';
  if (full) return `Destroy a sandbox, or ${hosts ? 'give a host more slots' : 'raise SANDBOXER_SLOTS'}.`;
  return hosts
    ? 'Run `sandboxer hosts check` to see what the hosts say.'
    : 'Run `sandboxer doctor` to see what is missing and how to add it.';
}

/** Everything a create needs to know before it is recorded. Throws the one sentence that says why not. */
export async function plan(
  engine: EngineContext,
  profile: Profile,
  request: PlanRequest,
  signal: AbortSignal,
): Promise<Plan> {
  requireInputs(profile, request);
  const { ttlMs, spec, candidates, route } = await judgeAll(engine, profile, request, signal);
  if (route.order.length === 0) throw noCandidate(engine, profile, candidates, route);
  const byKey = new Map(candidates.map((candidate) => [venueKey(candidate.facts), candidate]));
  let remaining = route;
  const choices = route.order.map((key): Choice => {
    const { facts, degradations } = byKey.get(key)!;
    const choice = {
      extensionId: facts.extensionId,
      spec: { ...spec, placement: { host: facts.host } },
      route: remaining,
      degradations,
      estimateMicroUsd: facts.totalMicroUsd,
    };
    remaining = passOverFirst(remaining, 'filled up while this was decided');
    return choice;
  });
  return { choices, ttlMs };
}
