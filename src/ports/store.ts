/**
 * What the engine needs remembered. A `transaction` that resolved is durable; one that rejected left nothing.
 * Work inside a transaction may await nothing but the transaction's own methods.
 */

import type { RouteDecision } from '../domain/routing/route.ts';
import type { LifecycleEvent, SandboxState } from '../domain/sandbox/lifecycle.ts';
import type { RunKind } from '../domain/sandbox/runs.ts';
import type { Degradation, Handle, HostTelemetry, Reachability, SandboxSpec } from './extension.ts';
import type { StoredHost } from './host-directory.ts';
import type { SnapshotRecord } from './snapshot-archives.ts';

export interface Consumer {
  readonly actor: 'adm' | 'agt' | 'atm';
  readonly project: string;
  readonly run_id: string | null;
}

export type { RunKind };

/** The one unit of work in flight on a sandbox; `steps` is fixed when it begins. */
export interface RunRecord {
  readonly id: string;
  readonly kind: RunKind;
  readonly steps: readonly string[];
  readonly cursor: number;
  readonly attempt: number;
  readonly lastError: string | null;
  readonly startedAtMs: number;
  readonly deadlineAtMs: number;
  /** Data fixed at the beginning, such as the deadline an extension was granted. */
  readonly argument: Readonly<Record<string, number | string | null>>;
}

export interface ObservedState {
  readonly state: 'starting' | 'running' | 'stopping' | 'dead' | 'absent' | 'unknown';
  readonly atMs: number;
  readonly detail: string | null;
}

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly cleanedUp: string | null;
}

export interface TelemetryReport {
  readonly schema_version: '0.1';
  readonly host: string;
  readonly sandbox_id: string;
  readonly profile_id: string;
  readonly collected_at: string;
  readonly provision_delta: {
    readonly before: HostTelemetry;
    readonly after: HostTelemetry;
    readonly load_1m: number;
    readonly mem_available_mb: number;
  } | null;
  readonly introspection: readonly {
    readonly command: string;
    readonly exit_code: number;
    readonly output: string;
  }[];
  readonly inventory: readonly {
    readonly id: string;
    readonly path: string;
    readonly age_hours: number | null;
  }[];
  readonly stale_candidates: readonly {
    readonly id: string;
    readonly kind: string;
    readonly action: string;
  }[];
}

/** What a sandbox began with instead of a repository. */
export interface RestoredFrom {
  readonly snapshotId: string;
  /** What of the snapshot this sandbox does not have, such as volumes where the backend has none. */
  readonly leftOut: readonly string[];
  /** How much longer than any other create it may take; missing in records of earlier versions. */
  readonly extraMs?: number;
}

export interface SandboxRecord {
  readonly id: string;
  /** Counts up with every change; writers compare it. */
  readonly version: number;
  readonly epoch: number;
  readonly consumer: Consumer;
  readonly labels: Readonly<Record<string, string>>;
  readonly profileId: string;
  readonly profileVersion: string;
  readonly extensionId: string;
  readonly state: SandboxState;
  readonly desired: 'present' | 'absent';
  readonly observed: ObservedState | null;
  readonly run: RunRecord | null;
  readonly spec: SandboxSpec;
  readonly restoredFrom: RestoredFrom | null;
  readonly handle: Handle | null;
  readonly route: RouteDecision;
  readonly degradations: readonly Degradation[];
  readonly reachability: Reachability | null;
  readonly telemetry: TelemetryReport | null;
  readonly wantsTelemetry: boolean;
  /** The host before provisioning, kept until the report is made. */
  readonly hostBefore: HostTelemetry | null;
  readonly failure: Failure | null;
  /** Why the last run that left the sandbox usable (an extension) did not do its work. */
  readonly lastRunFailure: { readonly runId: string; readonly code: string; readonly message: string } | null;
  /** A sentence for the operator while something could not be settled by itself. */
  readonly attention: string | null;
  /** The scope of the slot that it holds, the key of its venue, or null. */
  readonly slot: string | null;
  readonly estimateMicroUsd: number;
  readonly actualMicroUsd: number;
  readonly ttlMs: number;
  readonly ttlMaxMs: number;
  readonly idleReapMs: number | null;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly readyAtMs: number | null;
  readonly expiresAtMs: number | null;
  readonly hardCapAtMs: number;
  /** What the last extension was granted, and why it was cut. */
  readonly lastGrant: {
    readonly requestedMs: number;
    readonly grantedMs: number;
    readonly cutReason: string | null;
  } | null;
  readonly lastActivityAtMs: number | null;
  /** When the reaper looks next; null once nothing can expire. */
  readonly dueAtMs: number | null;
  readonly eventSequence: number;
}

export interface EventRecord {
  readonly sandboxId: string;
  /** 1, 2, 3 … within one sandbox. */
  readonly sequence: number;
  /** Position in the feed over all sandboxes. */
  readonly position: number;
  readonly atMs: number;
  readonly type:
    | LifecycleEvent
    | 'requested'
    | 'extended'
    | 'cleaned_up'
    | 'attention'
    | 'failed_over'
    | 'observed';
  readonly state: SandboxState;
  readonly detail: Readonly<Record<string, unknown>>;
}

export type NewEvent = Pick<EventRecord, 'type' | 'state' | 'detail'>;

export interface SandboxQuery {
  /** Null means every project. */
  readonly project: string | null;
  readonly actor?: string;
  readonly runId?: string;
  readonly states?: readonly SandboxState[];
  readonly profileId?: string;
  readonly label?: { readonly key: string; readonly value: string };
  readonly cursor: string | null;
  readonly limit: number;
}

export interface SnapshotQuery {
  readonly project: string | null;
  readonly nowMs: number;
  readonly cursor: string | null;
  readonly limit: number;
}

export interface SnapshotBase {
  readonly base: SnapshotRecord;
  /** Of the archive of the newest one that builds on it; null where none does. */
  readonly lastChangesBytes: number | null;
}

export interface Page<Item> {
  readonly items: readonly Item[];
  readonly nextCursor: string | null;
}

export interface IdempotencyRecord {
  readonly scope: string;
  readonly key: string;
  readonly requestHash: string;
  readonly sandboxId: string;
  /** The run that the request began, or would have begun. */
  readonly runId: string;
  /** The answer given first; null until one was given. */
  readonly response: string | null;
  readonly createdAtMs: number;
}

export interface TokenRecord {
  readonly id: string;
  readonly hash: string;
  readonly name: string;
  /** Null sees every project. */
  readonly project: string | null;
  readonly scopes: readonly string[];
  readonly createdAtMs: number;
  readonly revokedAtMs: number | null;
}

/** A backend thing seen without a record; two sightings apart in time precede a kill. */
export interface StrayRecord {
  readonly extensionId: string;
  readonly name: string;
  readonly firstSeenAtMs: number;
}

export interface StoreReader {
  getSandbox(id: string): Promise<SandboxRecord | null>;
  getIdempotency(scope: string, key: string): Promise<IdempotencyRecord | null>;
  getHost(name: string): Promise<StoredHost | null>;
  /** How many slots are taken on a host, by all extensions together. */
  hostSlotsUsed(name: string): Promise<number>;
  /** How many sandboxes placed on a host have a run. */
  hostRuns(name: string): Promise<number>;
  /** Null also for one that was deleted while others build on it. */
  getSnapshot(id: string): Promise<SnapshotRecord | null>;
  /** Also one that was deleted while others build on it: its file is there as long as this answers it. */
  getSnapshotFile(id: string): Promise<SnapshotRecord | null>;
}

export interface StoreTransaction extends StoreReader {
  /** Rejects with `state_conflict` when the id is taken. */
  insertSandbox(record: SandboxRecord): Promise<void>;
  /** Writes if `version` is still `record.version`, and counts it up; false when somebody else was first. */
  updateSandbox(record: SandboxRecord): Promise<boolean>;
  /** Takes one of `limit` slots of a scope; false when none is free. */
  takeSlot(scope: string, limit: number): Promise<boolean>;
  releaseSlot(scope: string): Promise<void>;
  appendEvents(record: SandboxRecord, atMs: number, events: readonly NewEvent[]): Promise<void>;
  insertIdempotency(record: IdempotencyRecord): Promise<boolean>;
  setIdempotencyResponse(scope: string, key: string, response: string): Promise<void>;
  deleteIdempotencyBefore(atMs: number): Promise<number>;
  putToken(token: TokenRecord): Promise<void>;
  putStray(stray: StrayRecord): Promise<void>;
  deleteStray(extensionId: string, name: string): Promise<void>;
  /** Adds a host, or replaces what is stored under its name. */
  putHost(host: StoredHost): Promise<void>;
  /** False when there was none. */
  deleteHost(name: string): Promise<boolean>;
  /** False when what it builds on is gone. */
  insertSnapshot(snapshot: SnapshotRecord): Promise<boolean>;
  /** The ids of the snapshots whose files are needed no more: not of one that others build on, but of that once none does. */
  deleteSnapshot(id: string): Promise<readonly string[]>;
}

export interface Store extends StoreReader {
  /**
   * Resolves once a crash of the machine takes nothing of it back. `onCommitted` is told before that, as soon as a
   * crash of this process takes nothing back; it must not throw. What a unit rejects with waits for the disk too.
   */
  transaction<Result>(
    work: (transaction: StoreTransaction) => Promise<Result>,
    onCommitted?: (result: Result) => void,
  ): Promise<Result>;
  listSandboxes(query: SandboxQuery): Promise<Page<SandboxRecord>>;
  /** Records with a run, oldest first. */
  listRuns(limit: number): Promise<readonly SandboxRecord[]>;
  /** Records whose `dueAtMs` has come, earliest first. */
  listDue(nowMs: number, limit: number): Promise<readonly SandboxRecord[]>;
  nextDueAtMs(): Promise<number | null>;
  /** Records that hold a slot and have no run, in id order from `afterId` on. */
  listLive(afterId: string, limit: number): Promise<readonly SandboxRecord[]>;
  countLive(): Promise<number>;
  slotsUsed(scope: string): Promise<number>;
  /** Events of one sandbox after `sequence`, or of a project's feed after `position`. */
  listEvents(sandboxId: string, afterSequence: number, limit: number): Promise<readonly EventRecord[]>;
  getToken(id: string): Promise<TokenRecord | null>;
  listTokens(): Promise<readonly TokenRecord[]>;
  listStrays(extensionId: string): Promise<readonly StrayRecord[]>;
  /** Every stored host, by name. */
  listHosts(): Promise<readonly StoredHost[]>;
  /** Those that have not expired at `nowMs`, newest first. `project` null means every project. */
  listSnapshots(query: SnapshotQuery): Promise<Page<SnapshotRecord>>;
  /** What the next snapshot of a sandbox may build on: the newest whole one that has not expired at `nowMs`. */
  findSnapshotBase(sandboxId: string, nowMs: number): Promise<SnapshotBase | null>;
  /** Those whose time was over at `nowMs`, the longest over first. */
  listExpiredSnapshots(nowMs: number, limit: number): Promise<readonly SnapshotRecord[]>;
  close(): Promise<void>;
}
