import type { Agent, ClientRequest, IncomingMessage } from 'node:http';
import { request as httpsRequest, Agent as SecureAgent } from 'node:https';
import { type Duplex, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { errorFromProblem, type Problem, SandboxerError } from '../../domain/errors.ts';
import type { EventView } from '../../operations/view.ts';
import type { ExecSession } from '../../ports/extension.ts';
import { ROUTES } from './routes.gen.ts';
import { parseServerSentEvents } from './server-sent-events.ts';
import type {
  CallInput,
  CallName,
  CallOptions,
  CallOutput,
  DownloadName,
  ExecInput,
  Route,
  Transport,
  UploadName,
} from './transport.ts';

/** An `import` reads every export of node:http, and one of them loads what `fetch` is made of: 20 ms of each command. */
const http = process.getBuiltinModule('node:http');

export type Endpoint =
  | { readonly kind: 'socket'; readonly path: string }
  | { readonly kind: 'url'; readonly url: string; readonly token: string };

/** A kept connection ended before a byte of the answer came: the server had closed it, and read nothing. */
class ConnectionWasOver extends Error {}

type Raw = Readonly<Record<string, unknown>>;

interface Sent {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

function fillPath(route: Route, input: Raw): { path: string; rest: Record<string, unknown> } {
  const rest: Record<string, unknown> = { ...input };
  const path = route.path.replaceAll(/\{(\w+)\}/g, (_match, name: string) => {
    const value = encodeURIComponent(String(rest[name]));
    delete rest[name];
    return value;
  });
  return { path, rest };
}

function queryOf(fields: Raw): string {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    for (const item of [value].flat()) query.append(key, String(item));
  }
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}

async function readAll(response: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

async function failureOf(response: IncomingMessage): Promise<SandboxerError> {
  const text = await readAll(response);
  try {
    return errorFromProblem(JSON.parse(text) as Problem);
  } catch (error) {
    return new SandboxerError(
      'server_unreachable',
      `The server answered ${response.statusCode} and no problem document.`,
      {
        nextStep: 'Check that SANDBOXER_URL names a sand-boxer server.',
        cause: error,
      },
    );
  }
}

function cancelled(cause: unknown): SandboxerError {
  return new SandboxerError('cancelled', 'The request was cancelled.', { cause });
}

/** Speaks to a server: over the home's socket, or over a URL with a token. */
export class HttpTransport implements Transport {
  readonly place: string;
  readonly embedded = false;
  readonly #endpoint: Endpoint;
  readonly #agent: Agent;
  readonly #secure: boolean;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
    this.place = endpoint.kind === 'socket' ? endpoint.path : endpoint.url;
    this.#secure = endpoint.kind === 'url' && endpoint.url.startsWith('https:');
    this.#agent = this.#secure ? new SecureAgent({ keepAlive: true }) : new http.Agent({ keepAlive: true });
  }

  async call<Name extends CallName>(
    name: Name,
    input: CallInput<Name>,
    options: CallOptions = {},
  ): Promise<CallOutput<Name>> {
    const route = ROUTES[name];
    const { method } = route;
    const { path, rest } = fillPath(route, input as Raw);
    const inQuery = method === 'GET' || method === 'DELETE';
    const key = options.idempotencyKey;
    const headers = {
      'content-type': 'application/json',
      ...(key === undefined || !route.keyed ? {} : { 'idempotency-key': key }),
    };
    const sent = { method, path: inQuery ? path + queryOf(rest) : path, headers, signal: options.signal };
    const response = await this.#send(sent, inQuery ? null : JSON.stringify(rest));
    return JSON.parse(await readAll(this.#content(response, sent))) as CallOutput<Name>;
  }

  async exec(input: ExecInput, signal?: AbortSignal): Promise<ExecSession> {
    const { path, rest } = fillPath(ROUTES.exec, input);
    const { openExecSocket } = await import('./socket-session.ts');
    return openExecSocket(this.#endpoint, path, rest, signal);
  }

  async download(name: DownloadName, input: Raw, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const { path, rest } = fillPath(ROUTES[name], input);
    const sent = { method: 'GET', path: path + queryOf(rest), headers: {}, signal };
    return this.#content(await this.#send(sent, null), sent);
  }

  async upload(
    name: UploadName,
    input: Raw,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const route = ROUTES[name];
    const { path, rest } = fillPath(route, input);
    const headers = { 'content-type': 'application/octet-stream' };
    const sent = { method: route.method, path: path + queryOf(rest), headers, signal };
    return JSON.parse(await readAll(this.#content(await this.#send(sent, body), sent)));
  }

  async *events(
    input: { id: string; after?: number; follow?: boolean },
    signal?: AbortSignal,
  ): AsyncIterable<EventView> {
    const { path, rest } = fillPath(ROUTES.events, input);
    const sent = { method: 'GET', path: path + queryOf(rest), headers: {}, signal };
    const content = this.#content(await this.#send(sent, null), sent);
    for await (const data of parseServerSentEvents(content)) yield JSON.parse(data) as EventView;
  }

  async openPort(input: { id: string; port: number }, signal?: AbortSignal): Promise<Duplex> {
    const { path } = fillPath(ROUTES.open_port, input);
    const { openTunnelSocket } = await import('./socket-session.ts');
    return openTunnelSocket(this.#endpoint, path, signal);
  }

  async detach(): Promise<void> {} // the server holds the home

  async close(): Promise<void> {
    this.#agent.destroy();
  }

  #request(sent: Sent, agent: Agent | false): ClientRequest {
    const { signal } = sent;
    const common = { method: sent.method, agent, ...(signal === undefined ? {} : { signal }) };
    if (this.#endpoint.kind === 'socket') {
      const headers = { ...sent.headers, host: 'localhost' };
      return http.request({ ...common, socketPath: this.#endpoint.path, path: sent.path, headers });
    }
    const headers = { ...sent.headers, authorization: `Bearer ${this.#endpoint.token}` };
    const target = new URL(sent.path, this.#endpoint.url);
    return this.#secure
      ? httpsRequest(target, { ...common, headers })
      : http.request(target, { ...common, headers });
  }

  /**
   * Sends, and once more on a new connection where the server had closed the kept one meanwhile; but only what may
   * be sent twice: without a body (it reads or removes), or with a key.
   */
  async #send(sent: Sent, body: string | AsyncIterable<Uint8Array> | null): Promise<IncomingMessage> {
    const mayRepeat = body === null || sent.headers['idempotency-key'] !== undefined;
    try {
      return await this.#sendOnce(sent, body, this.#agent);
    } catch (error) {
      if (!(error instanceof ConnectionWasOver)) throw error;
      if (mayRepeat && !sent.signal?.aborted) return this.#sendOnce(sent, body, false);
      throw this.#unreachable(error, sent.signal);
    }
  }

  async #sendOnce(
    sent: Sent,
    body: string | AsyncIterable<Uint8Array> | null,
    agent: Agent | false,
  ): Promise<IncomingMessage> {
    const request = this.#request(sent, agent);
    let bytesBefore = 0;
    request.once('socket', ({ bytesRead }) => {
      bytesBefore = bytesRead;
    });
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      request.once('response', resolve);
      request.once('error', (error) => {
        const wasOver = request.reusedSocket && request.socket?.bytesRead === bytesBefore;
        reject(wasOver ? new ConnectionWasOver(error.message) : this.#unreachable(error, sent.signal));
      });
    });
    if (body === null || typeof body === 'string') request.end(body ?? undefined);
    else
      pipeline(Readable.from(body, { objectMode: false }), request).catch((error: Error) =>
        request.destroy(error),
      );
    const response = await answered;
    if ((response.statusCode ?? 500) < 400) return response;
    throw await failureOf(response);
  }

  /** The body of an answer; a server that goes away in the middle of it is told as such. */
  async *#content(response: IncomingMessage, sent: Sent): AsyncIterable<Uint8Array> {
    try {
      yield* response as AsyncIterable<Uint8Array>;
    } catch (error) {
      if (sent.signal?.aborted) throw cancelled(error);
      throw new SandboxerError(
        'server_unreachable',
        `The server at ${this.place} broke its answer off before the end.`,
        { nextStep: 'Ask again; the log of the server says why.', cause: error },
      );
    }
  }

  #unreachable(error: Error, signal: AbortSignal | undefined): SandboxerError {
    if (signal?.aborted) return cancelled(error);
    return new SandboxerError('server_unreachable', `The server at ${this.place} does not answer.`, {
      nextStep: 'Start it with: sandboxer serve — or unset SANDBOXER_URL to work without one.',
      cause: error,
    });
  }
}
