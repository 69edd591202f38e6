import type { Duplex } from 'node:stream';
import { LIMITS } from '../../domain/limits.ts';
import { collectOutput } from '../../engine/telemetry.ts';
import type { EventView, SandboxView } from '../../operations/view.ts';
import type { ExecSession } from '../../ports/extension.ts';
import { type ConnectOptions, connectTransport } from './connect.ts';
import type { CallInput, CallOptions, CallOutput, ExecInput, Transport } from './transport.ts';

export interface RunOptions extends Omit<ExecInput, 'id' | 'command' | 'stdin'> {
  /** All of standard input. */
  readonly stdin?: string | Uint8Array;
  readonly signal?: AbortSignal;
}

export interface RunResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /** There was more output than is collected (64 MiB); `start` streams all of it. */
  readonly truncated: boolean;
}

/** One sandbox. Its methods may be called again and again; each asks afresh. */
export class Sandbox {
  readonly id: string;
  /** The status when this handle was made; `refresh` asks again. */
  readonly status: SandboxView;
  readonly #transport: Transport;

  constructor(transport: Transport, status: SandboxView) {
    this.#transport = transport;
    this.status = status;
    this.id = status.sandbox_id;
  }

  /** Runs a command and collects its output. A command that ends with another code than 0 is no error. */
  async run(command: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const { stdin, signal, ...rest } = options;
    const session = await this.start(command, { ...rest, stdin: stdin !== undefined }, signal);
    if (stdin !== undefined) {
      await session.write(typeof stdin === 'string' ? Buffer.from(stdin) : stdin);
      session.closeInput();
    }
    const { stdout, stderr, truncated } = await collectOutput(session, LIMITS.runOutputBytes);
    const { exitCode } = await session.exit;
    session.close();
    return { exitCode, stdout, stderr, truncated };
  }

  /** Starts a command and hands over its streams. */
  start(
    command: readonly string[],
    options: Omit<ExecInput, 'id' | 'command'> = {},
    signal?: AbortSignal,
  ): Promise<ExecSession> {
    return this.#transport.exec({ ...options, id: this.id, command: [...command] }, signal);
  }

  async readFile(path: string, signal?: AbortSignal): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of await this.streamFile(path, signal)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  streamFile(path: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    return this.#transport.download('read_file', { id: this.id, path }, signal);
  }

  async writeFile(
    path: string,
    content: string | Uint8Array | AsyncIterable<Uint8Array>,
    mode = '644',
  ): Promise<void> {
    const body =
      typeof content === 'string'
        ? once(Buffer.from(content))
        : content instanceof Uint8Array
          ? once(content)
          : content;
    await this.#transport.upload('write_file', { id: this.id, path, mode }, body);
  }

  /** A file or directory as a tar stream. */
  readArchive(path: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    return this.#transport.download('read_archive', { id: this.id, path }, signal);
  }

  /** Unpacks a tar stream into a directory inside. */
  async writeArchive(path: string, body: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<void> {
    await this.#transport.upload('write_archive', { id: this.id, path }, body, signal);
  }

  /** What detached commands wrote. */
  logs(signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    return this.#transport.download('logs', { id: this.id }, signal);
  }

  openPort(port: number, signal?: AbortSignal): Promise<Duplex> {
    return this.#transport.openPort({ id: this.id, port }, signal);
  }

  events(options: { after?: number; follow?: boolean; signal?: AbortSignal } = {}): AsyncIterable<EventView> {
    const { signal, ...input } = options;
    return this.#transport.events({ id: this.id, ...input }, signal);
  }

  async refresh(): Promise<Sandbox> {
    return new Sandbox(this.#transport, await this.#transport.call('get', { id: this.id }));
  }

  async extend(duration: string, options?: CallOptions): Promise<Sandbox> {
    return new Sandbox(
      this.#transport,
      await this.#transport.call('extend_ttl', { id: this.id, duration }, options),
    );
  }

  async recreate(options?: CallOptions): Promise<Sandbox> {
    return new Sandbox(this.#transport, await this.#transport.call('recreate', { id: this.id }, options));
  }

  /** Captures its workspace and named volumes while it runs. */
  snapshot(
    input: Omit<CallInput<'snapshot'>, 'id'> = {},
    options?: CallOptions,
  ): Promise<CallOutput<'snapshot'>> {
    return this.#transport.call('snapshot', { ...input, id: this.id }, options);
  }

  /** Takes it down and proves that it is gone. Safe to repeat. */
  async destroy(options?: CallOptions): Promise<SandboxView> {
    return this.#transport.call('destroy', { id: this.id }, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.destroy();
  }
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}

/**
 * The library: sandboxes from TypeScript. `connect` finds a server (SANDBOXER_URL with SANDBOXER_TOKEN, or the
 * home's socket), and works in this process where there is none. Every failure is a `SandboxerError`.
 */
export class Sandboxer {
  readonly transport: Transport;

  constructor(transport: Transport) {
    this.transport = transport;
  }

  static async connect(options: ConnectOptions = {}): Promise<Sandboxer> {
    return new Sandboxer(await connectTransport(options));
  }

  /** Establishes a sandbox and waits until it is ready. With an idempotency key, safe to repeat. */
  async create(input: CallInput<'create'> = {}, options?: CallOptions): Promise<Sandbox> {
    return new Sandbox(this.transport, await this.transport.call('create', input, options));
  }

  /** Establishes a sandbox with what a snapshot holds. With an idempotency key, safe to repeat. */
  async restore(
    snapshotId: string,
    input: Omit<CallInput<'restore'>, 'id'> = {},
    options?: CallOptions,
  ): Promise<Sandbox> {
    const view = await this.transport.call('restore', { ...input, id: snapshotId }, options);
    return new Sandbox(this.transport, view);
  }

  async get(id: string): Promise<Sandbox> {
    return new Sandbox(this.transport, await this.transport.call('get', { id }));
  }

  list(input: CallInput<'list'> = {}): Promise<CallOutput<'list'>> {
    return this.transport.call('list', input);
  }

  listSnapshots(input: CallInput<'snapshots_list'> = {}): Promise<CallOutput<'snapshots_list'>> {
    return this.transport.call('snapshots_list', input);
  }

  getSnapshot(id: string): Promise<CallOutput<'snapshots_get'>> {
    return this.transport.call('snapshots_get', { id });
  }

  deleteSnapshot(id: string): Promise<CallOutput<'snapshots_delete'>> {
    return this.transport.call('snapshots_delete', { id });
  }

  async close(): Promise<void> {
    await this.transport.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
