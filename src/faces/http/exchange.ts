/** One request as the face needs it, read from node's own objects where there are any: they cost far less. */
import type { IncomingMessage, ServerResponse } from 'node:http';

export interface Exchange {
  readonly url: URL;
  header(name: string): string | undefined;
  /** The body, once. */
  body(): AsyncIterable<Uint8Array>;
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
    signal: controller.signal,
  };
}

function fromWeb(request: Request): Exchange {
  return {
    url: new URL(request.url),
    header: (name) => request.headers.get(name) ?? undefined,
    body: () => request.body ?? nothing(),
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
