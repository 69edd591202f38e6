/** From a request and a profile to a spec and a route. Reads, asks and decides; changes nothing. */
import { parseDurationMs } from '../domain/duration.ts';
import { SandboxerError } from '../domain/errors.ts';
import { candidateExtensions, type Profile, profileTimes } from '../domain/profile/profile.ts';
import { type CandidateFacts, decideRoute, type RouteDecision } from '../domain/routing/route.ts';
import { inWords } from '../domain/text.ts';
import type { EngineContext } from '../engine/context.ts';
import { type Degradation, type Extension, ExtensionError, type SandboxSpec } from '../ports/extension.ts';

export interface PlanRequest {
  readonly inputs: Readonly<Record<string, string>>;
  readonly host: string | null;
  readonly ttl: string | undefined;
}

export interface Plan {
  readonly spec: SandboxSpec;
  readonly route: RouteDecision;
  readonly extension: Extension;
  readonly degradations: readonly Degradation[];
  readonly ttlMs: number;
  readonly estimateMicroUsd: number;
}

function requireInputs(profile: Profile, inputs: PlanRequest['inputs']): void {
  const missing = Object.entries(profile.inputs)
    .filter(([name, input]) => input.required && inputs[name] === undefined)
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
    placement: { host: request.host },
    configuration: profile.config,
  };
}

interface Judged {
  readonly facts: CandidateFacts;
  readonly extension: Extension | null;
  readonly degradations: readonly Degradation[];
  readonly refusal: unknown;
}

const NOT_INSTALLED = {
  installed: false,
  selfHosted: false,
  unhealthyReason: null,
  unsupportedReason: null,
  coolingUntilMs: null,
  slotsFree: 0,
  priceMicroUsdPerHour: 0,
  totalMicroUsd: 0,
  readyMs: null,
};

function refusalSentence(error: unknown): string {
  if (error instanceof ExtensionError) return error.message;
  throw error;
}

async function judgeCandidate(
  engine: EngineContext,
  extensionId: string,
  spec: SandboxSpec,
  ttlMs: number,
  signal: AbortSignal,
): Promise<Judged> {
  if (!engine.extensions.has(extensionId)) {
    return { facts: { ...NOT_INSTALLED, extensionId }, extension: null, degradations: [], refusal: null };
  }
  const extension = await engine.extensions.load(extensionId);
  const [capabilities, health, slotsUsed] = await Promise.all([
    extension.capabilities(),
    extension.health(signal),
    engine.store.slotsUsed(extensionId),
  ]);
  let degradations: readonly Degradation[] = [];
  let refusal: unknown = null;
  let estimate = { priceMicroUsdPerHour: 0, totalMicroUsd: 0 };
  try {
    degradations = (await extension.validate(spec)).degradations;
    estimate = await extension.estimate(spec, ttlMs);
  } catch (error) {
    refusal = error;
  }
  const facts: CandidateFacts = {
    extensionId,
    installed: true,
    selfHosted: capabilities.pricingModel === 'self-hosted',
    unhealthyReason: health.ok ? null : (health.reason ?? 'it is not healthy'),
    unsupportedReason: refusal === null ? null : refusalSentence(refusal),
    coolingUntilMs: engine.routing.coolingUntilMs(extensionId),
    slotsFree: engine.settings.slotsPerExtension - slotsUsed,
    priceMicroUsdPerHour: estimate.priceMicroUsdPerHour,
    totalMicroUsd: estimate.totalMicroUsd,
    readyMs: engine.routing.readyMs(extensionId),
  };
  return { facts, extension, degradations, refusal };
}

async function judgeAll(engine: EngineContext, profile: Profile, request: PlanRequest, signal: AbortSignal) {
  const ttlMs = requestedTtlMs(profile, request.ttl);
  const spec = specOf(profile, request);
  const judged = await Promise.all(
    candidateExtensions(profile).map((id) => judgeCandidate(engine, id, spec, ttlMs, signal)),
  );
  const maxUsd = profile.route?.max_cost_per_hour_usd ?? null;
  const route = decideRoute(
    judged.map(({ facts }) => facts),
    {
      strategy: profile.route?.strategy ?? 'explicit',
      maxMicroUsdPerHour: maxUsd === null ? null : Math.round(maxUsd * 1e6),
      forceCloud: engine.settings.forceCloud,
      nowMs: engine.clock.nowMs(),
    },
  );
  return { ttlMs, spec, judged, route };
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

function noCandidate(
  engine: EngineContext,
  profile: Profile,
  judged: readonly Judged[],
  route: RouteDecision,
): SandboxerError {
  const only = judged.length === 1 ? judged[0]! : null;
  if (only !== null && !only.facts.installed) {
    const known = engine.extensions.summaries().map(({ id }) => id);
    return new SandboxerError(
      'unknown_extension',
      `${profile.id} names ${only.facts.extensionId}, which is not installed.`,
      {
        nextStep: `Installed are ${inWords(known)}.`,
      },
    );
  }
  if (only !== null && only.refusal instanceof ExtensionError) {
    const code = only.refusal.kind === 'invalid' ? 'invalid_input' : 'unsupported';
    return new SandboxerError(code, only.refusal.message, { cause: only.refusal });
  }
  const reasons = route.candidates.map(({ extension_id, reason }) => `${extension_id}: ${reason}`);
  const full = judged.every(({ facts }) => facts.slotsFree <= 0 && facts.installed);
  return new SandboxerError(
    full ? 'quota_exceeded' : 'no_candidate',
    `No backend can take ${profile.id} now (${reasons.join('; ')}).`,
    {
      nextStep: full
        ? 'Destroy a sandbox, or raise SANDBOXER_SLOTS.'
        : 'Run `sandboxer doctor` to see what is missing and how to add it.',
    },
  );
}

/** Everything a create needs to know before it is recorded. Throws the one sentence that says why not. */
export async function plan(
  engine: EngineContext,
  profile: Profile,
  request: PlanRequest,
  signal: AbortSignal,
): Promise<Plan> {
  requireInputs(profile, request.inputs);
  const { ttlMs, spec, judged, route } = await judgeAll(engine, profile, request, signal);
  const chosen = judged.find(({ facts }) => facts.extensionId === route.order[0]);
  if (chosen === undefined || chosen.extension === null) throw noCandidate(engine, profile, judged, route);
  return {
    spec,
    route,
    extension: chosen.extension,
    degradations: chosen.degradations,
    ttlMs,
    estimateMicroUsd: chosen.facts.totalMicroUsd,
  };
}
