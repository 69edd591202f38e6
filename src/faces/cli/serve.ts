import { existsSync } from 'node:fs';
import { createJsonLog } from '../../adapters/log/json-log.ts';
import { SandboxerError } from '../../domain/errors.ts';
import { type Composed, compose } from '../../main.ts';
import { DEFAULT_HOST, type RunningServer, refusePlainHttp, serveHttp } from '../http/server.ts';
import { onInterrupt } from './interrupt.ts';
import type { Values } from './spec.ts';
import type { Terminal } from './terminal.ts';

const DEFAULT_PORT = 7_788;
const PORT_MAX = 65_535;

interface ServeInput {
  readonly host?: string;
  readonly port?: number;
  readonly allowed_hosts?: readonly string[];
  readonly allow_plain_http?: boolean;
}

function announce(server: RunningServer, composed: Composed, terminal: Terminal): void {
  const { url, socketPath } = server;
  const { tokenPath } = composed.home;
  if (terminal.flags.json || process.stderr.isTTY !== true) {
    createJsonLog().info('serving', { url, socket: socketPath, token_file: tokenPath, pid: process.pid });
    return;
  }
  const { paintError } = terminal;
  terminal.complain(`${paintError('green', '●')} sandboxer serves ${paintError('bold', url)}`);
  terminal.complain(`  ${paintError('dim', 'socket')}  ${socketPath}, for you, without a token`);
  if (existsSync(tokenPath)) terminal.complain(`  ${paintError('dim', 'token ')}  in ${tokenPath}`);
  terminal.complain(
    `  ${paintError('dim', 'stop  ')}  Ctrl-C; sandboxes go on, and the next start takes them up`,
  );
}

async function untilStopped(fatal: Promise<never>): Promise<void> {
  const stopped = Promise.withResolvers<void>();
  const interrupts = onInterrupt(
    () => stopped.resolve(),
    () => undefined,
  );
  try {
    await Promise.race([stopped.promise, fatal]);
  } finally {
    interrupts.stop();
  }
}

function lostStore(cause: unknown): SandboxerError {
  return new SandboxerError('store_unavailable', 'The store can no longer be believed; the server stops.', {
    nextStep: 'Check the disk, then start it again: sandboxer doctor',
    cause,
  });
}

/** Serves until SIGTERM or SIGINT. */
export async function runServe(values: Values, terminal: Terminal): Promise<number> {
  const { host = DEFAULT_HOST, port = DEFAULT_PORT, ...input } = values as ServeInput;
  if (port < 0 || port > PORT_MAX) {
    throw new SandboxerError('invalid_request', `--port must be 0 to ${PORT_MAX}, and is ${port}.`);
  }
  refusePlainHttp({ host, allowPlainHttp: input.allow_plain_http ?? false }); // before the home is taken
  const fatal = Promise.withResolvers<never>();
  fatal.promise.catch(() => undefined); // told by `untilStopped`, which may not be reached yet
  const composed = await compose({
    staysUp: true,
    environment: process.env,
    log: createJsonLog(),
    lockWaitMs: 0,
    onFatal: (cause) => fatal.reject(lostStore(cause)),
  });
  try {
    const server = await serveHttp(composed, {
      host,
      port,
      allowedHosts: input.allowed_hosts ?? [],
      allowPlainHttp: input.allow_plain_http ?? false,
    });
    composed.engine.startLoops();
    announce(server, composed, terminal);
    try {
      await untilStopped(fatal.promise);
    } finally {
      await server.close();
    }
    return 0;
  } finally {
    await composed.close();
  }
}
