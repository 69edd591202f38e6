/** The engine's own HTTP interface (Docker Engine API 1.41; Podman speaks it too), over a stream to its socket. */
import { type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { type Duplex, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ExtensionError } from '../../ports/extension.ts';
import type { HostClient } from './client.ts';
import { lastWords } from './errors.ts';

const VERSION = '/v1.41';
const ANSWER_BYTES_MAX = 1024 * 1024;

interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'HEAD' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  /** A tar stream, instead of `body`. */
  readonly content?: AsyncIterable<Uint8Array>;
  readonly signal: AbortSignal;
  /** Asks for a plain stream in both directions after the answer. */
  readonly upgrade?: boolean;
}

interface Answer {
  readonly status: number;
  readonly message: IncomingMessage;
  /** Set when the engine agreed to an upgrade. */
  readonly stream: Duplex | null;
}

async function readBody(body: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX)
      throw new ExtensionError('bug', 'The engine answered more than can be right.');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function engineError(status: number, text: string): ExtensionError {
  let words = text;
  try {
    words = (JSON.parse(text) as { message?: string }).message ?? text;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  const kind = status === 404 || status === 409 || status === 400 ? 'invalid' : 'transient';
  return new ExtensionError(kind, `The engine refused: ${lastWords(words) || `status ${status}`}.`);
}

/** An engine that has answered reads no further; then its answer counts, and nothing else. */
async function feed(
  sent: ClientRequest,
  content: AsyncIterable<Uint8Array>,
  answer: Promise<Answer>,
): Promise<void> {
  let answered = false;
  const heard = answer.then(
    () => {
      answered = true;
    },
    () => undefined, // told by whoever awaits the answer
  );
  const source = Readable.from(content, { objectMode: false });
  try {
    await pipeline(source, sent);
  } catch (error) {
    if (isBroken(error)) await heard;
    if (!answered && !isBroken(error)) throw error;
  }
}

function isBroken(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return ['EPIPE', 'ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE', 'ERR_STREAM_DESTROYED'].includes(code);
}

export class EngineApi {
  readonly #client: HostClient;

  constructor(client: HostClient) {
    this.#client = client;
  }

  /** The answer as JSON; every status from 400 on rejects. */
  async json<T>(call: Omit<Call, 'upgrade'>): Promise<T> {
    const { status, message } = await this.#send(call);
    const text = await readBody(message);
    if (status >= 400) throw engineError(status, text);
    return (text === '' ? null : JSON.parse(text)) as T;
  }

  /** The body of the answer as it comes. It rejects when the engine stops before its end. */
  async download(call: Omit<Call, 'upgrade'>): Promise<Readable> {
    const { status, message } = await this.#send(call);
    if (status >= 400) throw engineError(status, await readBody(message));
    return message;
  }

  /** A header of the answer; null for 404. */
  async header(call: Omit<Call, 'upgrade'>, name: string): Promise<string | null> {
    const { status, message } = await this.#send(call);
    message.resume();
    if (status === 404) return null;
    if (status >= 400) throw engineError(status, '');
    const value = message.headers[name];
    return typeof value === 'string' ? value : null;
  }

  /** A stream in both directions, for exec. */
  async stream(call: Omit<Call, 'upgrade'>): Promise<Duplex> {
    const { status, message, stream } = await this.#send({ ...call, upgrade: true });
    if (stream !== null) return stream;
    throw engineError(status, await readBody(message));
  }

  async #send(call: Call): Promise<Answer> {
    const { socket } = await this.#client.engine(call.signal);
    if (socket === null) {
      throw new ExtensionError(
        'unsupported',
        `The engine on host ${this.#client.host.name} has no socket to speak to.`,
      );
    }
    const connection = await this.#client.link.connect({ socket }, call.signal);
    const body = call.body === undefined ? '' : JSON.stringify(call.body);
    const options: RequestOptions = {
      method: call.method,
      path: `${VERSION}${call.path}`,
      headers: {
        host: 'engine',
        ...(call.content === undefined
          ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
          : { 'content-type': 'application/x-tar', 'transfer-encoding': 'chunked' }),
        ...(call.upgrade ? { connection: 'Upgrade', upgrade: 'tcp' } : {}),
      },
      createConnection: () => connection,
      signal: call.signal,
    };
    const answer = Promise.withResolvers<Answer>();
    const sent = request(options, (message) => {
      message.once('close', () => connection.destroy());
      answer.resolve({ status: message.statusCode ?? 0, message, stream: null });
    });
    sent.once('upgrade', (message, stream: Duplex, head: Buffer) => {
      if (head.length > 0) stream.unshift(head);
      answer.resolve({ status: 101, message, stream });
    });
    sent.once('error', (cause) => {
      connection.destroy();
      answer.reject(
        new ExtensionError('transient', `The engine does not answer: ${cause.message}.`, { cause }),
      );
    });
    if (call.content === undefined) sent.end(body);
    else await feed(sent, call.content, answer.promise);
    return answer.promise;
  }
}
