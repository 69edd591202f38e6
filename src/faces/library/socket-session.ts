/** The client's end of a WebSocket session. */
import type { Duplex } from 'node:stream';
import { createWebSocketStream, WebSocket } from 'ws';
import { errorFromProblem, type Problem, SandboxerError } from '../../domain/errors.ts';
import type { ExecExit, ExecOutput, ExecSession } from '../../ports/extension.ts';
import type { Endpoint } from './http-transport.ts';

const HIGH_WATER_MESSAGES = 16;
const PIECE_BYTES = 256 * 1024;
const SEND_WATER_BYTES = 1024 * 1024;

function connect(endpoint: Endpoint, path: string, signal?: AbortSignal): Promise<WebSocket> {
  const socket =
    endpoint.kind === 'socket'
      ? new WebSocket(`ws+unix://${endpoint.path}:${path}`, {
          perMessageDeflate: false,
          headers: { host: 'localhost' },
        })
      : new WebSocket(new URL(path, endpoint.url.replace(/^http/, 'ws')), {
          perMessageDeflate: false,
          headers: { authorization: `Bearer ${endpoint.token}` },
        });
  signal?.addEventListener('abort', () => socket.terminate(), { once: true });
  return new Promise((resolve, reject) => {
    socket.once('open', () => resolve(socket));
    socket.once('unexpected-response', (_request, response) => {
      const chunks: Uint8Array[] = [];
      response.on('data', (chunk: Uint8Array) => chunks.push(chunk));
      response.on('end', () => reject(problemError(Buffer.concat(chunks).toString('utf8'))));
    });
    socket.once('error', (cause) =>
      reject(new SandboxerError('server_unreachable', 'The server does not answer.', { cause })),
    );
  });
}

function problemError(text: string): SandboxerError {
  try {
    return errorFromProblem(JSON.parse(text) as Problem);
  } catch (error) {
    return new SandboxerError('server_unreachable', 'The server refused the session.', { cause: error });
  }
}

interface ServerMessage {
  readonly type: 'started' | 'exit' | 'error';
  readonly pid?: number;
  readonly exit_code?: number;
  readonly signal?: number | null;
  readonly timed_out?: boolean;
  readonly output_truncated?: boolean;
  readonly problem?: Problem;
}

/** Turns messages into a session; a consumer that does not read pauses the socket. */
class SocketExec implements ExecSession {
  pid = 0;
  readonly exit: Promise<ExecExit>;
  readonly started: Promise<void>;
  readonly #socket: WebSocket;
  readonly #chunks: ExecOutput[] = [];
  #ended = false;
  #turn: Promise<void> = Promise.resolve();
  #failure: SandboxerError | null = null;
  #wake: () => void = () => undefined;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.binaryType = 'fragments'; // as they came: joining them would copy every byte
    const started = Promise.withResolvers<void>();
    const exit = Promise.withResolvers<ExecExit>();
    exit.promise.catch(() => undefined); // also told by `output` and `started`
    started.promise.catch(() => undefined);
    this.started = started.promise;
    this.exit = exit.promise;
    const fail = (error: SandboxerError) => {
      this.#failure ??= error;
      started.reject(error);
      exit.reject(error);
      this.#end();
    };
    socket.on('message', (data, isBinary) => {
      if (isBinary) return this.#receive(data as Buffer[]);
      const message = JSON.parse(data.toString()) as ServerMessage;
      if (message.type === 'started') {
        this.pid = message.pid ?? 0;
        started.resolve();
      } else if (message.type === 'exit') {
        exit.resolve(exitOf(message));
        this.#end();
      } else fail(errorFromProblem(message.problem!));
    });
    socket.on('error', () => socket.terminate());
    socket.on('close', () => {
      if (!this.#ended)
        fail(new SandboxerError('sandbox_unreachable', 'The session broke off before the command ended.'));
    });
  }

  get output(): AsyncIterable<ExecOutput> {
    return this.#read();
  }

  /** In pieces that a server takes as one message each; writes follow each other in the order asked. */
  write(data: Uint8Array): Promise<void> {
    const written = this.#turn.then(() => this.#write(data));
    this.#turn = written.catch(() => undefined); // told to whoever asked for it
    return written;
  }

  async #write(data: Uint8Array): Promise<void> {
    for (let start = 0; start < data.length; start += PIECE_BYTES) {
      await this.#send(data.subarray(start, start + PIECE_BYTES));
    }
  }

  async #send(data: Uint8Array): Promise<void> {
    if (this.#socket.bufferedAmount < SEND_WATER_BYTES) return this.#socket.send(data);
    await new Promise<void>((resolve, reject) =>
      this.#socket.send(data, (error) => (error ? reject(error) : resolve())),
    );
  }

  closeInput(): void {
    this.#turn = this.#turn.then(() => this.#tell({ type: 'stdin_eof' }));
  }

  sendSignal(signal: number): void {
    this.#tell({ type: 'signal', signal });
  }

  resize(columns: number, rows: number): void {
    this.#tell({ type: 'resize', columns, rows });
  }

  close(): void {
    this.#socket.close(1000);
  }

  #tell(message: object): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** The first byte says which stream the rest is of; an empty message only measures that the peer reads. */
  #receive(fragments: readonly Buffer[]): void {
    const stream = fragments[0]?.[0] === 1 ? 'stdout' : 'stderr';
    for (const [index, fragment] of fragments.entries()) {
      const data = index === 0 ? fragment.subarray(1) : fragment;
      if (data.length > 0) this.#chunks.push({ stream, data });
    }
    if (this.#chunks.length >= HIGH_WATER_MESSAGES) this.#socket.pause();
    this.#wake();
  }

  #end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *#read(): AsyncIterable<ExecOutput> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        if (this.#chunks.length < HIGH_WATER_MESSAGES / 2) this.#socket.resume();
        yield chunk;
      } else if (this.#failure !== null) throw this.#failure;
      else if (this.#ended) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

function exitOf(message: ServerMessage): ExecExit {
  return {
    exitCode: message.exit_code ?? 255,
    signal: message.signal ?? null,
    timedOut: message.timed_out ?? false,
    outputTruncated: message.output_truncated ?? false,
  };
}

/** Starts a command over the session route; resolves once it runs. */
export async function openExecSocket(
  endpoint: Endpoint,
  path: string,
  input: Readonly<Record<string, unknown>>,
  signal?: AbortSignal,
): Promise<ExecSession> {
  const socket = await connect(endpoint, path, signal);
  const session = new SocketExec(socket);
  socket.send(JSON.stringify(input));
  await session.started;
  return session;
}

export async function openTunnelSocket(
  endpoint: Endpoint,
  path: string,
  signal?: AbortSignal,
): Promise<Duplex> {
  return createWebSocketStream(await connect(endpoint, path, signal)) as Duplex;
}
