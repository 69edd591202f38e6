import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { AgentError } from './agent-error.ts';
import { errorOf } from './channel.ts';
import { encodeFrame, FIELD, type Field, Fields, FRAME, FrameDecoder, type FrameHandler } from './wire.ts';

/** Which user ids a sandbox has: a range of its own on the host (broker is root), or the broker's own id. */
export type LaunchIdentity = { readonly mode: 'ranged'; readonly base: number } | { readonly mode: 'single' };

export interface LaunchRequest {
  /** Made when missing. Gets `agent.sock`, `pid`, `sandbox.log` and `launch.log`. */
  readonly sandboxDir: string;
  /** Names of directories in `sandboxDir` that belong to the sandbox's user; made when missing. */
  readonly ownedDirectories: readonly string[];
  /** Of its cgroups, the files to join before anything else. */
  readonly cgroupFiles: readonly string[];
  readonly identity: LaunchIdentity;
  /** From `boxSteps`. */
  readonly boxSteps: readonly string[];
  readonly token: Uint8Array;
  readonly deadlineMs: number;
  /** The sandbox never lives longer than this. */
  readonly capMs: number;
  readonly logLimitBytes?: number;
  readonly maxSessions?: number;
  /** Of the user inside; for hosts without a cgroup to limit them. */
  readonly processLimit?: number;
}

export interface LaunchResult {
  /** Of the sandbox's first process, as seen outside; `<sandboxDir>/pid` holds it with its start time. */
  readonly pid: number;
}

interface Pending {
  resolve(result: LaunchResult): void;
  reject(error: Error): void;
}

function requestFields(identifier: number, request: LaunchRequest): Field[] {
  const fields: Field[] = [
    [FIELD.REQUEST, identifier],
    [FIELD.DIRECTORY, request.sandboxDir],
    [FIELD.IDENTITY, request.identity.mode === 'ranged'],
    [FIELD.TOKEN, request.token],
    [FIELD.REMAINING_MS, Math.ceil(request.deadlineMs)],
    [FIELD.CAP_MS, Math.ceil(request.capMs)],
  ];
  if (request.identity.mode === 'ranged') fields.push([FIELD.ID_BASE, request.identity.base]);
  if (request.logLimitBytes !== undefined) fields.push([FIELD.LOG_LIMIT, request.logLimitBytes]);
  if (request.maxSessions !== undefined) fields.push([FIELD.MAX_SESSIONS, request.maxSessions]);
  if (request.processLimit !== undefined) fields.push([FIELD.PROCESS_LIMIT, request.processLimit]);
  for (const name of request.ownedDirectories) fields.push([FIELD.OWNED_DIRECTORY, name]);
  for (const file of request.cgroupFiles) fields.push([FIELD.CGROUP_FILE, file]);
  for (const step of request.boxSteps) fields.push([FIELD.BOX_STEP, step]);
  return fields;
}

/**
 * Starts sandboxes through one helper process, begun at the first request, which is the parent of each sandbox's first
 * process. No sandbox depends on its life.
 */
export class Launcher implements FrameHandler {
  readonly #agentPath: string;
  readonly #pending = new Map<number, Pending>();
  readonly #watchers = new Map<number, () => void>();
  #child: ChildProcess | undefined;
  #decoder = new FrameDecoder();
  #identifier = 0;
  #closed = false;

  constructor(options: { readonly agentPath: string }) {
    this.#agentPath = options.agentPath;
  }

  /** The helper's process id while it runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  launch(request: LaunchRequest): Promise<LaunchResult> {
    if (this.#closed) return Promise.reject(new AgentError('internal', 'the launcher is closed'));
    const identifier = ++this.#identifier;
    return new Promise((resolve, reject) => {
      const frame = encodeFrame(FRAME.LAUNCH, requestFields(identifier, request));
      const child = this.#start();
      this.#pending.set(identifier, { resolve, reject });
      this.#keepAlive(true);
      child.stdin?.write(frame);
    });
  }

  /**
   * Calls back once when the helper has seen the end of a sandbox's first process; never for one that another helper
   * started. The answer stops watching.
   */
  onEnd(pid: number, callback: () => void): () => void {
    this.#watchers.set(pid, callback);
    return () => this.#watchers.delete(pid);
  }

  /** Requests still running are answered first. */
  async close(): Promise<void> {
    this.#closed = true;
    const child = this.#child;
    if (child === undefined) return;
    const ended = Promise.withResolvers<void>();
    child.once('close', () => ended.resolve());
    this.#keepAlive(true);
    child.stdin?.end();
    await ended.promise;
  }

  streams(): boolean {
    return false;
  }

  piece(): void {}

  frame(type: number, payload: Buffer): boolean {
    const fields = new Fields(payload);
    if (type === FRAME.ENDED) {
      this.#watchers.get(fields.number(FIELD.PROCESS))?.();
      return true;
    }
    const identifier = fields.number(FIELD.REQUEST);
    const pending = this.#pending.get(identifier);
    this.#pending.delete(identifier);
    if (type === FRAME.LAUNCHED) pending?.resolve({ pid: fields.number(FIELD.PROCESS) });
    else pending?.reject(errorOf(payload));
    if (this.#pending.size === 0 && !this.#closed) this.#keepAlive(false);
    return true;
  }

  #start(): ChildProcess {
    if (this.#child !== undefined) return this.#child;
    const child = spawn(this.#agentPath, ['launch'], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: {},
      cwd: '/',
    });
    this.#child = child;
    this.#decoder = new FrameDecoder();
    child.stdin?.on('error', () => undefined);
    child.stdout?.on('data', (data: Buffer) => this.#received(child, data));
    child.on('error', (error) => this.#ended(child, error));
    child.on('close', () => this.#ended(child));
    return child;
  }

  #received(child: ChildProcess, data: Buffer): void {
    if (this.#child !== child) return;
    try {
      this.#decoder.push(data, this);
    } catch (error) {
      child.kill('SIGKILL');
      this.#ended(child, error);
    }
  }

  #ended(child: ChildProcess, cause?: unknown): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    for (const pending of this.#pending.values()) {
      pending.reject(new AgentError('internal', 'the launcher process ended', { cause }));
    }
    this.#pending.clear();
  }

  /** An idle helper must not hold the program open; while a request runs it must. */
  #keepAlive(isNeeded: boolean): void {
    const child = this.#child;
    if (child === undefined) return;
    const handles: (ChildProcess | Readable | Writable | null)[] = [child, child.stdin, child.stdout];
    for (const handle of handles) {
      if (handle === null || !('ref' in handle) || !('unref' in handle)) continue;
      const change = isNeeded ? handle.ref : handle.unref;
      if (typeof change === 'function') change.call(handle);
    }
  }
}
