/** When the sweep may kill: the rules of reliability.md, section 4, as one pure decision. */
import { LIMITS } from '../limits.ts';

export interface StrayFacts {
  /** The name parses as one of ours. */
  readonly inOurSpace: boolean;
  /** A record holds this id: its state is over, its epoch is the current one or a later one. */
  readonly record: { readonly over: boolean; readonly epoch: number } | null;
  readonly epoch: number;
  /** Null when the backend does not say; then it counts from when it was first seen. */
  readonly ageMs: number | null;
  readonly listComplete: boolean;
  /** Null when it was never seen before as a stray. */
  readonly firstSeenAtMs: number | null;
  readonly nowMs: number;
  readonly graceMs: number;
  readonly sightingGapMs: number;
}

export type StrayAction =
  | { readonly action: 'leave'; readonly reason: string }
  | { readonly action: 'watch'; readonly reason: string }
  | { readonly action: 'kill'; readonly reason: string };

export function judgeStray(facts: StrayFacts): StrayAction {
  if (!facts.inOurSpace) return { action: 'leave', reason: 'the name is not in our space' };
  if (facts.record !== null && !facts.record.over && facts.epoch >= facts.record.epoch) {
    return { action: 'leave', reason: 'a live record holds the id' };
  }
  const epochClosed = facts.record !== null && (facts.record.over || facts.epoch < facts.record.epoch);
  const seenForMs = facts.firstSeenAtMs === null ? 0 : facts.nowMs - facts.firstSeenAtMs;
  const old = Math.max(facts.ageMs ?? 0, seenForMs) > facts.graceMs;
  if (!epochClosed && !old)
    return { action: 'watch', reason: 'no record holds it, and it is younger than the grace' };
  if (!facts.listComplete) return { action: 'watch', reason: 'the list was not complete' };
  if (facts.firstSeenAtMs === null || facts.nowMs - facts.firstSeenAtMs < facts.sightingGapMs) {
    return { action: 'watch', reason: 'seen for the first time; killed when seen again later' };
  }
  return {
    action: 'kill',
    reason: epochClosed ? 'its incarnation is closed' : 'no record holds it and it is old',
  };
}

/** How many kills one sweep may do; more than that stops the sweep with an alarm. */
export function killBudget(liveCount: number): number {
  return Math.min(LIMITS.sweepKillsMax, Math.max(1, Math.floor(liveCount * LIMITS.sweepKillsFraction)));
}
