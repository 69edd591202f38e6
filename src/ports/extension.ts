/**
 * The extension contract: what a backend adapter promises. The core names the thing before the call, so every
 * verb can be repeated; what is there or not is an `Observation`, and only a proof makes something absent.
 */
import type { Duplex } from 'node:stream';
import type { Host } from '../domain/host/host.ts';
import type { Clock } from './clock.ts';
import type { Entropy } from './entropy.ts';
import type { HostDirectory } from './host-directory.ts';
import type { RestoreSource, Snapshots } from './snapshot.ts';

export type IsolationLevel = 'process' | 'container' | 'gvisor' | 'microvm' | 'vm';

/** How firmly a rule can be held: `enforced` by the kernel or hypervisor, `best-effort`, or `unsupported`. */
export type Grade = 'enforced' | 'best-effort' | 'unsupported';

export interface Capabilities {
  readonly isolationLevels: readonly IsolationLevel[];
  readonly regions: readonly string[];
  readonly persistence: 'ephemeral' | 'persistent';
  readonly pricingModel: 'self-hosted' | 'metered';
  readonly network: { readonly deny: Grade; readonly egressList: Grade; readonly allow: Grade };
  readonly limits: { readonly memory: Grade; readonly cpu: Grade; readonly processes: Grade };
  /** Optional interfaces; `true` exactly when the method of that name is there. */
  readonly sessions: boolean;
  readonly snapshots: boolean;
  readonly ownDeadline: boolean;
  readonly pause: boolean;
  readonly meter: boolean;
  readonly hostTelemetry: boolean;
  /** Runs sandboxes on hosts of the user's: the chosen one is `spec.placement.host`. Goes with `hostState`. */
  readonly hosts: boolean;
}

/** What is asked of a backend: the profile after inputs and requests were merged in. */
export interface SandboxSpec {
  readonly isolationLevel: IsolationLevel;
  readonly network: { readonly default: 'deny' | 'allow'; readonly egress: readonly string[] };
  readonly resources: {
    readonly cpu: number | null;
    readonly memoryMb: number | null;
    readonly processes: number | null;
    readonly allowDegraded: boolean;
  };
  readonly inputs: Readonly<Record<string, string>>;
  /** The name of the chosen host for an extension with hosts, else null. */
  readonly placement: { readonly host: string | null };
  readonly configuration: Readonly<Record<string, unknown>>;
  /** Who keeps the tunnels and the identities for those who come over SSH, as the profile says. */
  readonly access?: { readonly tunnelVia: string | null; readonly identity: string | null };
  /** The workspace comes from a snapshot: what depends on its content is checked when it is there, by `provision`. */
  readonly restored?: boolean;
}

/** Opaque to the core, which stores it and hands it back. `version` is the extension's own. */
export interface Handle {
  readonly version: number;
  readonly data: Readonly<Record<string, string | number | boolean | null>>;
}

/** How the core names one incarnation. `handle` is null while the answer to provision was never seen. */
export interface Reference {
  readonly name: string;
  readonly epoch: number;
  readonly handle: Handle | null;
  /** Where an extension with hosts was asked to make it, which counts while there is no handle. */
  readonly host?: string | null;
}

export interface Activity {
  readonly commandsRunning: number;
  /** Milliseconds since the last exec, file or session operation; 0 while one runs. */
  readonly idleMs: number;
}

/**
 * `starting` and `running` are present; `dead` is present too (something is left to remove) but will never be
 * usable again. A timeout, an expired key, an exception or a partial list is `unknown`, never `absent`.
 */
export type Observation =
  | {
      readonly kind: 'present';
      readonly state: 'starting' | 'running' | 'stopping' | 'dead';
      readonly handle: Handle;
      /** Null where the backend cannot tell; then only the first use moves the idle clock. */
      readonly activity: Activity | null;
      readonly detail: string | null;
    }
  | { readonly kind: 'absent'; readonly proof: string }
  | { readonly kind: 'unknown'; readonly cause: string };

export interface ProvisionRequest {
  readonly name: string;
  readonly epoch: number;
  readonly spec: SandboxSpec;
  readonly tags: Readonly<Record<string, string>>;
  /** The dead-man's deadline, milliseconds from now. */
  readonly ownDeadlineMs: number;
  /** No extension of the own deadline may pass this, milliseconds from now. */
  readonly ownDeadlineCapMs: number;
  /** What it begins with instead of `inputs.repo`. Goes with `spec.restored` and `Extension.snapshots`. */
  readonly restore?: RestoreSource;
  readonly signal: AbortSignal;
}

export interface Listed {
  readonly name: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly ageMs: number | null;
  readonly handle: Handle | null;
}

export interface ListPage {
  readonly items: readonly Listed[];
  readonly nextCursor: string | null;
  /** False when the backend may hold more of ours than it showed, whatever the reason. */
  readonly complete: boolean;
}

export interface Reachability {
  readonly ssh: string | null;
  readonly remote_dir: string | null;
  readonly host: string | null;
  readonly compose_project: string | null;
  readonly tunnel: string | null;
  readonly tunnel_via: string | null;
  readonly identity: string | null;
  readonly ports: readonly number[];
  readonly exec: boolean;
}

export interface Estimate {
  readonly priceMicroUsdPerHour: number;
  readonly totalMicroUsd: number;
}

/** A rule that will be held less firmly than asked; shown on the status. */
export interface Degradation {
  readonly rule: string;
  readonly reason: string;
}

export interface Validation {
  readonly degradations: readonly Degradation[];
}

export interface ExecSpec {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string | null;
  readonly user: 'user' | 'root';
  readonly terminal: { readonly columns: number; readonly rows: number } | null;
  readonly stdin: boolean;
  /** 0 means no limit. */
  readonly timeoutMs: number;
  readonly outputLimitBytes: number;
  /** Runs on without a client; output goes to the sandbox's log. */
  readonly detach: boolean;
}

export interface ExecExit {
  readonly exitCode: number;
  readonly signal: number | null;
  readonly timedOut: boolean;
  readonly outputTruncated: boolean;
}

export interface ExecOutput {
  readonly stream: 'stdout' | 'stderr';
  readonly data: Uint8Array;
}

/** One running command. Not reading `output` slows the command down (back-pressure); `close` ends it. */
export interface ExecSession {
  readonly pid: number;
  readonly output: AsyncIterable<ExecOutput>;
  readonly exit: Promise<ExecExit>;
  write(data: Uint8Array): Promise<void>;
  closeInput(): void;
  sendSignal(signal: number): void;
  resize(columns: number, rows: number): void;
  close(): void;
}

export interface FileEntry {
  readonly name: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'other';
  readonly sizeBytes: number;
  readonly modeBits: number;
  readonly modifiedAtMs: number;
}

/** Optional: how to get in. Every call acts as the sandbox's own user, inside. */
export interface Sessions {
  exec(reference: Reference, spec: ExecSpec, signal: AbortSignal): Promise<ExecSession>;
  readFile(reference: Reference, path: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  writeFile(
    reference: Reference,
    path: string,
    source: AsyncIterable<Uint8Array>,
    options: { readonly modeBits: number; readonly makeParents: boolean },
    signal: AbortSignal,
  ): Promise<number>;
  listDirectory(reference: Reference, path: string, signal: AbortSignal): Promise<readonly FileEntry[]>;
  stat(reference: Reference, path: string, signal: AbortSignal): Promise<FileEntry | null>;
  openPort(reference: Reference, port: number, signal: AbortSignal): Promise<Duplex>;
  /** What the sandbox wrote to its log, oldest first, bounded by the backend. */
  logs(reference: Reference, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
}

export interface HostTelemetry {
  readonly load_1m: number;
  readonly load_5m: number;
  readonly load_15m: number;
  readonly cpu_count: number;
  readonly mem_total_mb: number;
  readonly mem_available_mb: number;
  readonly disk_root_used_pct: number;
  readonly disk_root_avail_gb: number;
  readonly running_containers: number | null;
  readonly sandbox_containers: number | null;
}

/** Whether one host could take a sandbox of this backend now. */
export interface HostState {
  readonly ok: boolean;
  /** A sentence when it could not. */
  readonly reason: string | null;
  /** The load of the last minute by CPU, to choose between hosts; null where it is not known. */
  readonly loadPerCpu: number | null;
}

export interface Usage {
  readonly seconds: number;
  readonly costMicroUsd: number;
}

/** One thing a person may have to put right; `remedy` is the command that does it. */
export interface Finding {
  readonly check: string;
  readonly status: 'ok' | 'warning' | 'failed';
  readonly detail: string;
  readonly remedy: string | null;
}

export interface Extension {
  readonly id: string;
  readonly title: string;
  readonly description: string;
  /** Probed once and cached; throws ExtensionError('transient') while it cannot tell. */
  capabilities(): Promise<Capabilities>;
  /** Whether this backend could take work now; `reason` is a sentence for `route explain` and `doctor`. */
  health(signal: AbortSignal): Promise<{ readonly ok: boolean; readonly reason: string | null }>;
  /** Refuses (ExtensionError invalid or unsupported) what could not be honoured. Asks nothing of the backend. */
  validate(spec: SandboxSpec): Promise<Validation>;
  /** Without what the host costs: the core adds that. */
  estimate(spec: SandboxSpec, durationMs: number): Promise<Estimate>;
  /**
   * Starts making the thing called `request.name`. Safe to repeat: a thing of that name and epoch is adopted.
   * Returning means "asked and named", `observe` says when it runs.
   */
  provision(request: ProvisionRequest): Promise<Handle>;
  observe(reference: Reference, signal: AbortSignal): Promise<Observation>;
  /** Everything in our name space at this backend. */
  list(cursor: string | null, signal: AbortSignal): Promise<ListPage>;
  /** Safe to repeat; what is already gone is success. Absence is proven by `observe`, not by this returning. */
  destroy(reference: Reference, signal: AbortSignal): Promise<void>;
  reachability(reference: Reference): Promise<Reachability>;
  close(): Promise<void>;

  readonly sessions?: Sessions;
  readonly snapshots?: Snapshots;
  /** Moves the backend's own deadline; answers what was granted, milliseconds from now. */
  setOwnDeadline?(reference: Reference, remainingMs: number, signal: AbortSignal): Promise<number>;
  /** Of one host; `host` is null for a backend without hosts. */
  hostTelemetry?(host: Host | null, signal: AbortSignal): Promise<HostTelemetry>;
  /** Asked before a placement. What it rejects with counts as the reason why the host cannot be used now. */
  hostState?(host: Host, signal: AbortSignal): Promise<HostState>;
  /** What is missing for this backend, in more detail than `health`. */
  diagnose?(signal: AbortSignal): Promise<readonly Finding[]>;
  meter?(reference: Reference, signal: AbortSignal): Promise<Usage>;
}

export const EXTENSION_ERROR_KINDS = [
  'invalid',
  'unauthenticated',
  'forbidden',
  'quota',
  'capacity',
  'throttled',
  'transient',
  'ambiguous',
  'conflict',
  'unsupported',
  'bug',
] as const;

export type ExtensionErrorKind = (typeof EXTENSION_ERROR_KINDS)[number];

/** The only error an extension throws. `message` is public: one sentence, no secret. */
export class ExtensionError extends Error {
  readonly kind: ExtensionErrorKind;
  readonly retryAfterMs: number | null;

  constructor(
    kind: ExtensionErrorKind,
    message: string,
    options: { readonly retryAfterMs?: number; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'ExtensionError';
    this.kind = kind;
    this.retryAfterMs = options.retryAfterMs ?? null;
  }
}

/** What the composition root hands to an extension. Nothing else of the outside is reached for. */
export interface ExtensionContext {
  /** The extension's own directory below the home, created with mode 0700. */
  readonly directory: string;
  /** Random bytes that last as long as the home; for deriving tokens. Never leaves the process. */
  readonly secret: Uint8Array;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly hosts: HostDirectory;
}

/** What every `src/extensions/<name>/extension.ts` exports as `createExtension`. */
export type CreateExtension = (context: ExtensionContext) => Promise<Extension>;
