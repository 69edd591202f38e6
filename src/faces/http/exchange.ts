/** One request as the face needs it, read from node's own objects where there are any: they cost far less. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';

export interface Exchange {
  readonly url: URL;
  header(name: string): string | undefined;
  /** The body, once. */
  body(): AsyncIterable<Uint8Array>;
  /** Writes a stream as the answer where node's own response is there; false where the caller must answer. */
  send(source: AsyncIterable<Uint8Array>, headers: Readonly<Record<string, string>>): Promise<boolean>;
  /** Aborts when the client goes away before it was answered. */
  readonly signal: AbortSignal;
}

async function* nothing(): AsyncIterable<Uint8Array> {
  // a request without a body
}

function fromNode(incoming: IncomingMessage, outgoing: ServerResponse): Exchange {
  const controller = new AbortController();
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) controller.abort();
  });
  return {
    url: new URL(incoming.url ?? '/', 'http://localhost'),
    header(name) {
      const value = incoming.headers[name];
      return Array.isArray(value) ? value.join(', ') : value;
    },
    body: () => incoming,
    async send(source, headers) {
      outgoing.writeHead(200, headers);
      await pipeline(source, outgoing).catch(() => outgoing.destroy()); // a stream that fails is cut off, never ended politely
      return true;
    },
    signal: controller.signal,
  };
}

function fromWeb(request: Request): Exchange {
  return {
    url: new URL(request.url),
    header: (name) => request.headers.get(name) ?? undefined,
    body: () => request.body ?? nothing(),
    send: async () => false,
    signal: request.signal,
  };
}

/** What the listener tells about a connection; absent where a test calls the app in process. */
export interface ConnectionFacts {
  readonly trusted?: boolean;
  readonly incoming?: IncomingMessage;
  readonly outgoing?: ServerResponse;
}

export function exchangeOf(facts: ConnectionFacts, request: () => Request): Exchange {
  const { incoming, outgoing } = facts;
  return incoming === undefined || outgoing === undefined ? fromWeb(request()) : fromNode(incoming, outgoing);
}
