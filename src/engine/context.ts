import type { Clock } from '../ports/clock.ts';
import type { CrashPoints } from '../ports/crash-points.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { ExtensionRegistry } from '../ports/extension-registry.ts';
import type { HostRegistry } from '../ports/host-directory.ts';
import type { Log } from '../ports/log.ts';
import type { ProfileSource } from '../ports/profile-source.ts';
import type { SnapshotArchives } from '../ports/snapshot-archives.ts';
import type { Store } from '../ports/store.ts';
import type { Bus } from './bus.ts';
import type { Captures } from './captures.ts';
import type { HostStates } from './host-states.ts';
import type { RoutingMemory } from './routing-memory.ts';

export interface EngineSettings {
  /** How many sandboxes each extension without hosts may hold at once; a host has slots of its own. */
  readonly slotsPerExtension: number;
  /** SANDBOXER_FORCE_SAAS: skip self-hosted backends. */
  readonly forceCloud: boolean;
  /** SANDBOXER_TUNNEL_PORT or _ALIAS: where a tunnel of somebody else's ends here; we point at it and bring none up. */
  readonly tunnel: string | null;
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
  readonly hosts: HostRegistry;
  readonly hostStates: HostStates;
  readonly crashPoints: CrashPoints;
  readonly log: Log;
  readonly bus: Bus;
  readonly routing: RoutingMemory;
  readonly snapshots: SnapshotArchives;
  readonly captures: Captures;
  readonly settings: EngineSettings;
}
