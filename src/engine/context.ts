import type { Clock } from '../ports/clock.ts';
import type { CrashPoints } from '../ports/crash-points.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { ExtensionRegistry } from '../ports/extension-registry.ts';
import type { Log } from '../ports/log.ts';
import type { ProfileSource } from '../ports/profile-source.ts';
import type { Store } from '../ports/store.ts';
import type { Bus } from './bus.ts';
import type { RoutingMemory } from './routing-memory.ts';

export interface EngineSettings {
  /** How many sandboxes each extension may hold at once. */
  readonly slotsPerExtension: number;
  /** SANDBOXER_FORCE_SAAS: skip self-hosted backends. */
  readonly forceCloud: boolean;
  readonly observationTimeoutMs: number;
  readonly ownDeadlineMarginMs: number;
  readonly reconcileIntervalMs: number;
  readonly sweepIntervalMs: number;
  readonly sweepGraceMs: number;
  readonly sweepSightingGapMs: number;
}

/** Everything the engine's parts share. Only the composition root makes one. */
export interface EngineContext {
  readonly store: Store;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly extensions: ExtensionRegistry;
  readonly profiles: ProfileSource;
  readonly crashPoints: CrashPoints;
  readonly log: Log;
  readonly bus: Bus;
  readonly routing: RoutingMemory;
  readonly settings: EngineSettings;
}
