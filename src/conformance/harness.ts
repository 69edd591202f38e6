/** What an extension's author hands to the shared suite, and what the suite hands back. */

import type { Host } from '../domain/host/host.ts';
import type { Clock } from '../ports/clock.ts';
import type { Extension, SandboxSpec } from '../ports/extension.ts';
import type { Manifest } from '../ports/manifest.ts';

export interface ConformanceTimings {
  /** From `provision` to observed `running`. */
  readonly readyWithinMs: number;
  /** From `destroy` to observed `absent`. */
  readonly goneWithinMs: number;
  /** How long any single call may hang before it counts as hanging. Default 30 s. */
  readonly callWithinMs?: number;
  /** The shortest own deadline worth testing; must be longer than `readyWithinMs`. Default 2 s. */
  readonly shortDeadlineMs?: number;
  /** How long to wait between two looks. Default 50 ms. */
  readonly pollMs?: number;
}

/** Ways to make the backend misbehave once. Each that is given adds a case. */
export interface ConformanceFaults {
  /** The next provision has its effect, but its answer never arrives. */
  loseNextProvisionAnswer?(): Promise<void>;
  /** The next observe cannot reach the backend, or gets nonsense from it. */
  failNextObserve?(): Promise<void>;
  /** The next list cannot reach the backend, or gets nonsense from it. */
  failNextList?(): Promise<void>;
  /** The next list misses some of what is there, in a way that the extension can notice. */
  shortenNextList?(): Promise<void>;
  /** The next list holds things that are not ours too. */
  showForeignThings?(): Promise<void>;
}

export interface ConformanceHarness {
  /** A fresh instance over the same backend, as after a restart. The suite closes it. */
  create(): Promise<Extension>;
  /** A spec that the backend accepts, with `overrides` over it. */
  spec(overrides?: Partial<SandboxSpec>): SandboxSpec;
  /** A new name in our name space, of epoch 1: `backendName(sandboxId(random), 1)`. */
  newName(): string;
  readonly clock: Clock;
  readonly timings: ConformanceTimings;
  /** Looks at the backend by another way than through the extension. */
  readonly truth?: { exists(name: string): Promise<boolean> };
  readonly faults?: ConformanceFaults;
  readonly manifest?: Manifest;
  /** For an extension with hosts: one that can take work, the same as in `spec().placement.host`. */
  readonly host?: Host;
  /** Which optional interfaces there are, so that cases can be chosen before anything runs. */
  readonly optional: {
    readonly sessions: boolean;
    readonly ownDeadline: boolean;
    readonly meter: boolean;
    readonly snapshots?: boolean;
  };
  /** How many things the list cases make at once; more than one page where that is cheap. Default 3. */
  readonly listCount?: number;
}

export interface ConformanceCase {
  /** Short and stable, e.g. `life.destroy-ten-times`. */
  readonly name: string;
  /** The promise that it protects, as a sentence. */
  readonly guarantee: string;
  /** Rejects with a ConformanceViolation when the promise is broken. */
  run(): Promise<void>;
}

export class ConformanceViolation extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'ConformanceViolation';
  }
}
