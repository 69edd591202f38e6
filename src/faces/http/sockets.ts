/** Sessions over WebSocket: commands with open input or a terminal, and TCP ports. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type RawData, WebSocket, WebSocketServer } from 'ws';
import { z } from 'zod';
import { asSandboxerError, problemOf, SandboxerError } from '../../domain/errors.ts';
import { authorize } from '../../operations/access.ts';
import { admit } from '../../operations/dispatch.ts';
import type { Operation, OperationContext } from '../../operations/operation.ts';
import { OPERATION_LIST } from '../../operations/table.ts';
import type { ExecSession } from '../../ports/extension.ts';
import type { AppParts } from './app.ts';

const HIGH_WATER_BYTES = 1024 * 1024;
const MESSAGE_BYTES = 1024 * 1024;
/** The first byte of a binary message says which stream the rest is of. */
const STREAM_PREFIX = { stdout: Buffer.from([1]), stderr: Buffer.from([2]) } as const;

/** What a client may say in text while a command runs; binary messages are its standard input. */
const clientMessage = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('stdin_eof') }),
  z.strictObject({ type: z.literal('signal'), signal: z.number().int().min(1).max(64) }),
  z.strictObject({
    type: z.literal('resize'),
    columns: z.number().int().min(1).max(1_000),
    rows: z.number().int().min(1).max(1_000),
  }),
]);

interface Route {
  readonly operation: Operation;
  readonly pattern: RegExp;
}

function routes(): readonly Route[] {
  return OPERATION_LIST.filter(({ shape }) => shape === 'exec' || shape === 'tunnel').map((operation) => ({
    operation,
    pattern: new RegExp(`^${operation.http.path.replaceAll(/\{(\w+)\}/g, '(?<$1>[^/]+)')}$`),
  }));
}

/** Sends and waits while the peer is slow, so that a session never fills memory. */
function send(socket: WebSocket, data: Uint8Array | string): Promise<void> | void {
  socket.send(data, { binary: typeof data !== 'string' });
  if (socket.bufferedAmount < HIGH_WATER_BYTES) return;
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void) => () => {
      socket.off('close', closed);
      settle();
    };
    const closed = finish(() => reject(new SandboxerError('cancelled', 'The client left.')));
    socket.once('close', closed);
    socket.send(new Uint8Array(0), { binary: true }, (error) =>
      finish(() => (error ? reject(error) : resolve()))(),
    );
  });
}

function bytesOf(data: RawData): Uint8Array {
  return Array.isArray(data) ? Buffer.concat(data) : new Uint8Array(data as ArrayBuffer | Buffer);
}

function control(session: ExecSession, text: string): void {
  const message = clientMessage.parse(JSON.parse(text));
  if (message.type === 'stdin_eof') session.closeInput();
  else if (message.type === 'signal') session.sendSignal(message.signal);
  else session.resize(message.columns, message.rows);
}

/** One message after the other, in order; the socket is read again once all that has arrived was handled. */
function receive(socket: WebSocket, session: ExecSession): void {
  let turn: Promise<void> = Promise.resolve();
  let waiting = 0;
  const handle = async (data: RawData, isBinary: boolean): Promise<void> => {
    if (isBinary) await session.write(bytesOf(data));
    else control(session, data.toString());
  };
  socket.on('message', (data, isBinary) => {
    socket.pause();
    waiting += 1;
    turn = turn
      .then(() => handle(data, isBinary))
      .catch(() => {
        if (!isBinary) socket.close(1008, 'not a message of this protocol');
        // a command that no longer reads is no error; its exit is told by `serveExec`
      })
      .finally(() => {
        waiting -= 1;
        if (waiting === 0) socket.resume();
      });
  });
}

async function serveExec(socket: WebSocket, session: ExecSession): Promise<void> {
  try {
    socket.on('close', () => session.close());
    receive(socket, session);
    await send(socket, JSON.stringify({ type: 'started', pid: session.pid }));
    for await (const { stream, data } of session.output) {
      socket.send(STREAM_PREFIX[stream], { binary: true, fin: false }); // one message in two frames: nothing is copied
      await send(socket, data);
    }
    const exit = await session.exit;
    await send(
      socket,
      JSON.stringify({
        type: 'exit',
        exit_code: exit.exitCode,
        signal: exit.signal,
        timed_out: exit.timedOut,
        output_truncated: exit.outputTruncated,
      }),
    );
    socket.close(1000);
  } finally {
    session.close();
  }
}

async function serveTunnel(socket: WebSocket, stream: Duplex): Promise<void> {
  socket.on('message', (data) => {
    if (!stream.write(bytesOf(data))) {
      socket.pause();
      stream.once('drain', () => socket.resume());
    }
  });
  socket.on('close', () => stream.destroy());
  for await (const chunk of stream) await send(socket, chunk as Uint8Array);
  socket.close(1000);
}

function firstMessage(socket: WebSocket): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    socket.once('message', (data, isBinary) => {
      try {
        if (isBinary) throw new Error('binary');
        resolve(JSON.parse(data.toString()) as Record<string, unknown>);
      } catch (error) {
        reject(
          new SandboxerError('invalid_request', 'The first message must be the input as JSON.', {
            cause: error,
          }),
        );
      }
    });
    socket.once('close', () => reject(new SandboxerError('cancelled', 'The client left.')));
  });
}

async function converse(
  socket: WebSocket,
  operation: Operation,
  context: OperationContext,
  fields: Record<string, unknown>,
): Promise<void> {
  if (operation.shape === 'exec') {
    const input = admit(operation, context, { ...(await firstMessage(socket)), ...fields });
    return serveExec(socket, await operation.run(context, input));
  }
  if (operation.shape === 'tunnel')
    return serveTunnel(socket, await operation.run(context, admit(operation, context, fields)));
  throw new SandboxerError('internal', `${operation.name} is no session.`);
}

function refuse(socket: Duplex, thrown: unknown): void {
  const error = asSandboxerError(thrown);
  const body = JSON.stringify(problemOf(error));
  socket.end(
    `HTTP/1.1 ${error.kind.httpStatus} Refused\r\ncontent-type: application/problem+json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

export interface Sessions {
  handle(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void>;
  /** Ends every session. */
  close(): void;
}

/** Answers the upgrade requests of a node:http server. */
export function createSessions(parts: AppParts, trusted: boolean): Sessions {
  const server = new WebSocketServer({ noServer: true, maxPayload: MESSAGE_BYTES, perMessageDeflate: false });
  const known = routes();
  const handle = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    socket.on('error', () => socket.destroy());
    try {
      const path = new URL(request.url ?? '/', 'http://localhost').pathname;
      const matched = known.map(({ operation, pattern }) => ({ operation, match: pattern.exec(path) }));
      const route = matched.find(({ match }) => match !== null);
      if (route === undefined) throw new SandboxerError('not_found', 'There is no session at that path.');
      const origin = {
        trusted,
        remoteAddress: request.socket.remoteAddress ?? 'unknown',
        host: request.headers.host,
        origin: request.headers.origin,
        authorization: request.headers.authorization,
      };
      parts.gatekeeper.checkSource(origin);
      const principal = await parts.gatekeeper.principalOf(origin);
      authorize(principal, route.operation);
      const closed = new AbortController();
      const { engine, installation } = parts;
      const context = { engine, installation, principal, signal: closed.signal, idempotencyKey: null };
      server.handleUpgrade(request, socket, head, (webSocket) => {
        webSocket.on('error', () => webSocket.terminate());
        webSocket.on('close', () => closed.abort());
        converse(webSocket, route.operation, context, { ...route.match?.groups }).catch((error: unknown) => {
          if (webSocket.readyState !== WebSocket.OPEN) return;
          webSocket.send(JSON.stringify({ type: 'error', problem: problemOf(asSandboxerError(error)) }));
          webSocket.close(1011);
        });
      });
    } catch (error) {
      refuse(socket, error);
    }
  };
  return {
    handle,
    close() {
      for (const client of server.clients) client.terminate();
    },
  };
}
