import { chmodSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { SandboxerError } from '../../domain/errors.ts';
import { LIMITS } from '../../domain/limits.ts';
import type { Engine } from '../../engine/engine.ts';
import type { Installation } from '../../operations/operation.ts';
import { issueToken } from '../../operations/tokens.ts';
import { Gatekeeper } from './access.ts';
import { type AppParts, createApp } from './app.ts';
import { Metrics } from './metrics.ts';
import { createSessions, type Sessions } from './sockets.ts';

/** What is served, and the files of its home. */
export interface Served {
  readonly engine: Engine;
  readonly installation: Installation;
  readonly home: { readonly socketPath: string; readonly tokenPath: string };
}

export interface ServeOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0, which takes any free port. */
  readonly port?: number;
  readonly allowedHosts?: readonly string[];
  /** Binding to anything but loopback is refused without it: tokens would travel in the clear. */
  readonly allowPlainHttp?: boolean;
}

export interface RunningServer {
  readonly url: string;
  readonly socketPath: string;
  close(): Promise<void>;
}

export const DEFAULT_HOST = '127.0.0.1';
const LOOPBACK = [DEFAULT_HOST, '::1', 'localhost'];

function listen(server: Server, where: { path: string } | { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const place = 'path' in where ? where.path : `${where.host}:${where.port}`;
      const taken = error.code === 'EADDRINUSE';
      reject(
        new SandboxerError(
          'invalid_request',
          `${place} cannot be listened on${taken ? ': it is taken' : ''}.`,
          {
            nextStep: taken
              ? 'Stop what uses it, or choose another with --port.'
              : 'Choose another with --host and --port.',
            cause: error,
          },
        ),
      );
    });
    server.listen(where, resolve);
  });
}

interface Listening {
  readonly server: Server;
  readonly sessions: Sessions;
}

function makeServer(parts: AppParts, trusted: boolean): Listening {
  const app = createApp(parts);
  const listener = getRequestListener((request, env) => app.fetch(request, { ...env, trusted }), {
    overrideGlobalObjects: true,
  });
  const server = createServer(
    {
      maxHeaderSize: LIMITS.requestHeaderBytes,
      requestTimeout: 0,
      headersTimeout: 10_000,
      keepAliveTimeout: LIMITS.idleConnectionMs,
    },
    listener,
  );
  const sessions = createSessions(parts, trusted);
  server.on('upgrade', (request, socket, head) => void sessions.handle(request, socket, head));
  return { server, sessions };
}

function closeServer({ server, sessions }: Listening): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    sessions.close();
    server.closeAllConnections();
  });
}

/** The first start leaves a token for the owner in a file only the owner can read; the store has its hash. */
async function firstToken(engine: Engine, tokenPath: string): Promise<void> {
  const known = await engine.context.store.listTokens();
  if (known.length > 0 && existsSync(tokenPath)) return;
  const { token } = await issueToken(engine.context, { name: 'operator', project: null, scopes: ['admin'] });
  writeFileSync(tokenPath, `${token}\n`, { mode: 0o600 });
}

/** Throws where tokens would travel in the clear and nobody said that they may. */
export function refusePlainHttp({ host = DEFAULT_HOST, allowPlainHttp = false }: ServeOptions): void {
  if (LOOPBACK.includes(host) || allowPlainHttp) return;
  throw new SandboxerError(
    'invalid_request',
    `Serving plain HTTP on ${host} would send tokens in the clear.`,
    {
      nextStep: 'Put a TLS proxy in front and serve on 127.0.0.1, or say --allow-plain-http.',
    },
  );
}

/** Serves the API on the home's socket (for its owner, without a token) and on TCP (with one). */
export async function serveHttp(served: Served, options: ServeOptions = {}): Promise<RunningServer> {
  const { engine, installation } = served;
  const { socketPath, tokenPath } = served.home;
  const { host = DEFAULT_HOST, port: wantedPort = 0, allowedHosts = [] } = options;
  refusePlainHttp(options);
  await firstToken(engine, tokenPath);
  const gatekeeper = new Gatekeeper(engine.context, [...allowedHosts, host]);
  const parts: AppParts = { engine, installation, gatekeeper, metrics: new Metrics(engine) };
  const tcp = makeServer(parts, false);
  await listen(tcp.server, { host, port: wantedPort });
  const unix = makeServer(parts, true);
  rmSync(socketPath, { force: true });
  const previousMask = process.umask(0o177);
  try {
    await listen(unix.server, { path: socketPath });
    chmodSync(socketPath, 0o600);
  } finally {
    process.umask(previousMask);
  }
  const address = tcp.server.address();
  const port = typeof address === 'object' && address !== null ? address.port : wantedPort;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    socketPath,
    async close() {
      await Promise.all([closeServer(tcp), closeServer(unix)]);
    },
  };
}
