/** A port inside, on a port here: each connection gets a stream of its own. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { asSandboxerError, SandboxerError } from '../../domain/errors.ts';
import { printable } from '../../domain/text.ts';
import { connectTransport } from '../library/connect.ts';
import { onInterrupt } from './interrupt.ts';
import { withOpened } from './sessions.ts';
import type { Values } from './spec.ts';
import type { Terminal } from './terminal.ts';

const LOOPBACK = '127.0.0.1';

interface Target {
  readonly id: string;
  readonly port: number;
}

async function forward(socket: Socket, target: Target, terminal: Terminal): Promise<void> {
  socket.pause();
  socket.on('error', () => socket.destroy());
  try {
    await withOpened(
      (transport) => transport.openPort(target),
      async (stream) => {
        await Promise.all([pipeline(socket, stream), pipeline(stream, socket)]);
      },
    );
  } catch (error) {
    socket.destroy();
    if (error instanceof SandboxerError) terminal.complain(`✗ ${printable(error.message)}`);
  }
}

async function listen(server: Server, port: number): Promise<number> {
  try {
    server.listen(port, LOOPBACK);
    await once(server, 'listening');
  } catch (cause) {
    throw new SandboxerError('invalid_request', `${LOOPBACK}:${port} cannot be listened on.`, {
      nextStep: 'Choose another with --listen, or any free one with --listen 0.',
      cause,
    });
  }
  return (server.address() as AddressInfo).port;
}

/** Fails now, rather than at the first connection, where the sandbox is not there. */
async function requireReachable(id: string): Promise<void> {
  const transport = await connectTransport();
  try {
    await transport.call('reachability', { id });
  } finally {
    await transport.close();
  }
}

/** Forwards until Ctrl-C. */
export async function runPort(values: Values, terminal: Terminal): Promise<number> {
  const { listen: wanted, ...target } = values as unknown as Target & { readonly listen?: number };
  await requireReachable(target.id);
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    forward(socket, target, terminal).catch((error: unknown) =>
      terminal.complain(`✗ ${printable(asSandboxerError(error).message)}`),
    );
  });
  const port = await listen(server, wanted ?? target.port);
  if (terminal.json)
    await terminal.outJson({ sandbox_id: target.id, port: target.port, listen: `${LOOPBACK}:${port}` });
  else await terminal.out(`${LOOPBACK}:${port} → port ${target.port} of ${target.id}; Ctrl-C ends it\n`);
  const left = Promise.withResolvers<void>();
  const interrupts = onInterrupt(
    () => left.resolve(),
    () => undefined,
  );
  await left.promise;
  interrupts.stop();
  server.close();
  for (const socket of sockets) socket.destroy();
  return 0;
}
