import type { ROUTE_STRATEGIES } from '../profile/profile.ts';
import { venueKey } from './venue.ts';

export type RouteStrategy = (typeof ROUTE_STRATEGIES)[number];

/** What is known of one candidate, a venue, at the moment of routing. Money in micro-USD, times in milliseconds. */
export interface CandidateFacts {
  readonly extensionId: string;
  /** Null for a backend without hosts. */
  readonly host: string | null;
  /** Why it is none of those that the request and the profile are for, or null. */
  readonly leftOutReason: string | null;
  /** The place of its host among those of the extension, lower first. */
  readonly placementRank: number;
  /** Null where it is not known. */
  readonly loadPerCpu: number | null;
  readonly installed: boolean;
  readonly selfHosted: boolean;
  /** A sentence, or null when it can take work. */
  readonly unhealthyReason: string | null;
  /** A sentence, or null when every rule of the profile can be kept. */
  readonly unsupportedReason: string | null;
  readonly coolingUntilMs: number | null;
  readonly slotsFree: number;
  readonly priceMicroUsdPerHour: number;
  readonly totalMicroUsd: number;
  /** Measured median time to ready; null before the first one. */
  readonly readyMs: number | null;
}

export interface RouteRequest {
  readonly strategy: RouteStrategy;
  readonly maxMicroUsdPerHour: number | null;
  readonly forceCloud: boolean;
  readonly nowMs: number;
}

export interface RouteCandidate {
  readonly extension_id: string;
  readonly host: string | null;
  readonly chosen: boolean;
  /** Position in the order of trial, 0 first; null when left out. */
  readonly rank: number | null;
  readonly reason: string;
}

export interface RouteDecision {
  readonly strategy: RouteStrategy;
  /** Venue keys, in the order of trial. */
  readonly order: readonly string[];
  readonly candidates: readonly RouteCandidate[];
}

function exclusion(facts: CandidateFacts, request: RouteRequest): string | null {
  if (!facts.installed) return 'no such extension is installed';
  if (request.forceCloud && facts.selfHosted) return 'SANDBOXER_FORCE_SAAS skips self-hosted backends';
  if (facts.leftOutReason !== null) return facts.leftOutReason;
  if (facts.unsupportedReason !== null) return facts.unsupportedReason;
  if (facts.unhealthyReason !== null) return facts.unhealthyReason;
  if (facts.coolingUntilMs !== null && facts.coolingUntilMs > request.nowMs) {
    return `cooling down after failures for ${Math.ceil((facts.coolingUntilMs - request.nowMs) / 1_000)} s more`;
  }
  if (facts.slotsFree <= 0) return 'all slots are taken';
  if (request.maxMicroUsdPerHour !== null && facts.priceMicroUsdPerHour > request.maxMicroUsdPerHour) {
    return `costs ${facts.priceMicroUsdPerHour / 1e6} USD/h, over the limit of ${request.maxMicroUsdPerHour / 1e6}`;
  }
  return null;
}

/** Lower is better; equal scores keep the profile's order. */
function score(facts: CandidateFacts, strategy: RouteStrategy): number {
  switch (strategy) {
    case 'explicit':
      return 0;
    case 'prefer-self-hosted':
      return facts.selfHosted ? 0 : 1;
    case 'lowest-cost':
      return facts.totalMicroUsd;
    case 'lowest-latency':
      return facts.readyMs ?? Number.MAX_SAFE_INTEGER;
  }
}

/** Between venues of equal score: the profile's order, then placement, then the host with most to give. */
function byPlacement(left: CandidateFacts, right: CandidateFacts): number {
  if (left.extensionId !== right.extensionId || left.host === null || right.host === null) return 0;
  const load = (facts: CandidateFacts) => facts.loadPerCpu ?? Number.MAX_SAFE_INTEGER;
  return (
    left.placementRank - right.placementRank ||
    load(left) - load(right) ||
    right.slotsFree - left.slotsFree ||
    (left.host < right.host ? -1 : 1)
  );
}

function whyRanked(facts: CandidateFacts, strategy: RouteStrategy): string {
  switch (strategy) {
    case 'explicit':
      return 'named by the profile';
    case 'prefer-self-hosted':
      return facts.selfHosted ? 'self-hosted' : "not self-hosted, in the profile's order";
    case 'lowest-cost':
      return `${facts.totalMicroUsd / 1e6} USD for the whole life`;
    case 'lowest-latency':
      return facts.readyMs === null
        ? 'not measured yet'
        : `${Math.round(facts.readyMs)} ms to ready, measured`;
  }
}

function aboutHost({ host, loadPerCpu, slotsFree }: CandidateFacts): string {
  if (host === null) return '';
  const load = loadPerCpu === null ? 'load not known' : `load ${loadPerCpu.toFixed(2)} per CPU`;
  return `; ${load}, ${slotsFree} slots free`;
}

/** Orders the candidates that may be tried and gives every other one its reason. Pure; same input, same order. */
export function decideRoute(candidates: readonly CandidateFacts[], request: RouteRequest): RouteDecision {
  const judged = candidates.map((facts) => ({ facts, excluded: exclusion(facts, request) }));
  const place = (facts: CandidateFacts) =>
    candidates.findIndex(({ extensionId }) => extensionId === facts.extensionId);
  const order = judged
    .filter(({ excluded }) => excluded === null)
    .map(({ facts }) => facts)
    .sort(
      (left, right) =>
        score(left, request.strategy) - score(right, request.strategy) ||
        place(left) - place(right) ||
        byPlacement(left, right),
    );
  return {
    strategy: request.strategy,
    order: order.map(venueKey),
    candidates: judged.map(({ facts, excluded }) => {
      const rank = order.indexOf(facts);
      return {
        extension_id: facts.extensionId,
        host: facts.host,
        chosen: rank === 0,
        rank: rank === -1 ? null : rank,
        reason: excluded ?? `${whyRanked(facts, request.strategy)}${aboutHost(facts)}`,
      };
    }),
  };
}

/** The decision after its first venue could not be had: that one is left out, the others move up. */
export function passOverFirst(decision: RouteDecision, reason: string): RouteDecision {
  return {
    ...decision,
    order: decision.order.slice(1),
    candidates: decision.candidates.map((candidate) => {
      if (candidate.rank === null) return candidate;
      if (candidate.rank === 0) return { ...candidate, chosen: false, rank: null, reason };
      return { ...candidate, chosen: candidate.rank === 1, rank: candidate.rank - 1 };
    }),
  };
}
