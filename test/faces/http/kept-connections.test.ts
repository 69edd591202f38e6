/** A connection that is kept between requests may be closed by the server at any time: that fails no request. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { LIMITS } from '../../../src/domain/limits.ts';
import { HttpTransport } from '../../../src/faces/library/http-transport.ts';
import { openHttpBench } from './bench.ts';

const atEnd: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of atEnd.splice(0).reverse()) await end();
});

interface Seen {
  readonly request: string;
  readonly key: string | undefined;
  readonly connection: number;
}

type Ending = (response: ServerResponse) => void;
const CUT: Ending = (response) => response.socket?.destroy();
const CUT_IN_THE_MIDDLE: Ending = (response) => response.socket?.write('HTTP/1.1 200', () => CUT(response));

/** Answers the first request of each connection, and ends the connection at the second one. */
async function openServer(ending: Ending) {
  const seen: Seen[] = [];
  const connections = new Map<unknown, number>();
  const served = new Set<unknown>();
  const server: Server = createServer((request: IncomingMessage, response) => {
    const { socket, headers } = request;
    if (!connections.has(socket)) connections.set(socket, connections.size + 1);
    seen.push({
      request: `${request.method} ${request.url}`,
      key: headers['idempotency-key']?.toString(),
      connection: connections.get(socket)!,
    });
    request.resume();
    request.on('end', () => {
      if (served.has(socket)) return ending(response);
      served.add(socket);
      response.end('{"items":[],"next_cursor":null}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const transport = new HttpTransport({ kind: 'url', url: `http://127.0.0.1:${port}`, token: 'x' });
  atEnd.push(
    () => new Promise((resolve) => server.close(resolve)),
    () => server.closeAllConnections(),
    () => transport.close(),
  );
  return { transport, seen };
}

/** Resolves when the answer before has given its connection back. */
const connectionIsKept = () => new Promise((resolve) => setImmediate(resolve));

describe('a kept connection that the server closed', () => {
  it('is replaced by a new one for a request without a body', async () => {
    const { transport, seen } = await openServer(CUT);
    await transport.call('list', {});
    await connectionIsKept();
    await transport.call('list', {});
    expect(seen.map(({ connection }) => connection)).toEqual([1, 1, 2]);
  });

  it('is replaced for a request with a key, which it carries again', async () => {
    const { transport, seen } = await openServer(CUT);
    await transport.call('list', {});
    await connectionIsKept();
    await transport.call('create', {}, { idempotencyKey: 'k' });
    expect(seen.map(({ connection, key }) => [connection, key])).toEqual([
      [1, undefined],
      [1, 'k'],
      [2, 'k'],
    ]);
  });

  it('fails a request that may not be sent twice', async () => {
    const { transport, seen } = await openServer(CUT);
    await transport.call('list', {});
    await connectionIsKept();
    await expect(transport.call('create', {})).rejects.toMatchObject({ code: 'server_unreachable' });
    expect(seen).toHaveLength(2);
  });

  it('fails a request whose key means nothing to the server', async () => {
    const { transport, seen } = await openServer(CUT);
    await transport.call('list', {});
    await connectionIsKept();
    const tokens = { name: 'x', scopes: ['read' as const] };
    const created = transport.call('tokens_create', tokens, { idempotencyKey: 'k' });
    await expect(created).rejects.toMatchObject({ code: 'server_unreachable' });
    expect(seen).toHaveLength(2);
  });

  it('fails a request whose answer had begun', async () => {
    const { transport, seen } = await openServer(CUT_IN_THE_MIDDLE);
    await transport.call('list', {});
    await connectionIsKept();
    await expect(transport.call('list', {})).rejects.toMatchObject({ code: 'server_unreachable' });
    expect(seen).toHaveLength(2);
  });

  it('is no reason to ask a server twice that is not there', async () => {
    const nobody = new HttpTransport({ kind: 'socket', path: '/nonexistent/sandboxer.sock' });
    await expect(nobody.call('list', {})).rejects.toMatchObject({ code: 'server_unreachable' });
  });
});

describe('the server', () => {
  it('keeps a connection without a request for a minute, and says so', async () => {
    await using bench = await openHttpBench();
    const answer = await bench.request('/healthz');
    expect(answer.headers.get('keep-alive')).toBe(`timeout=${LIMITS.idleConnectionMs / 1_000}`);
  });
});
