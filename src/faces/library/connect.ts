import { existsSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import { serverSocketPath } from '../../adapters/home/home.ts';
import { SandboxerError } from '../../domain/errors.ts';
import type { Endpoint } from './http-transport.ts';
import type { Transport } from './transport.ts';

export interface ConnectOptions {
  /** SANDBOXER_HOME, SANDBOXER_URL, SANDBOXER_TOKEN and the rest; this process's environment unless said. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** How long to wait for another process that uses the home, in milliseconds. */
  readonly lockWaitMs?: number;
}

/** A server that was killed leaves its socket behind; only one that accepts is there. */
function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectSocket(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** The server that the environment names, else the one that listens on the home's socket, else null. */
export async function findServer(
  environment: NonNullable<ConnectOptions['environment']>,
): Promise<Endpoint | null> {
  const { SANDBOXER_URL: url, SANDBOXER_TOKEN: token } = environment;
  if (url !== undefined && url !== '') {
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
      throw new SandboxerError('invalid_request', 'SANDBOXER_URL is not an http or https address.');
    }
    if (token === undefined || token === '') {
      throw new SandboxerError('unauthenticated', 'SANDBOXER_URL is set, but SANDBOXER_TOKEN is not.', {
        nextStep: 'Set SANDBOXER_TOKEN to a token of that server.',
      });
    }
    return { kind: 'url', url, token };
  }
  const path = serverSocketPath(environment);
  return existsSync(path) && (await accepts(path)) ? { kind: 'socket', path } : null;
}

/** The server if there is one, else an engine in this process. Each is loaded only where it is used. */
export async function connectTransport(options: ConnectOptions = {}): Promise<Transport> {
  const environment = options.environment ?? process.env;
  const server = await findServer(environment);
  if (server !== null) {
    const { HttpTransport } = await import('./http-transport.ts');
    return new HttpTransport(server);
  }
  const [{ compose }, { LocalTransport }] = await Promise.all([
    import('../../main.ts'),
    import('./local-transport.ts'),
  ]);
  const { lockWaitMs } = options;
  const composed = await compose({ environment, ...(lockWaitMs === undefined ? {} : { lockWaitMs }) });
  await composed.engine.reconciler.resumeRuns();
  return new LocalTransport(composed);
}
