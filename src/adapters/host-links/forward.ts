/** Byte streams through the shared connection. They take no session of the host's sshd. */
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { Host } from '../../domain/host/host.ts';
import { asSentence } from '../../domain/text.ts';
import { ExtensionError } from '../../ports/extension.ts';
import { ChildDuplex } from './child-duplex.ts';
import { calledOff, collect, onAbort, spawnPiped } from './process.ts';
import { brokenLinkError, lastLine } from './ssh-errors.ts';
import type { Connection, SshMaster, SshOptions } from './ssh-master.ts';

const FORWARD_TIMEOUT_MS = 10_000;
const ERROR_BYTES_MAX = 16 * 1024;
const TCP_ADDRESS = /^[a-z0-9:]([a-z0-9._:-]{0,253})$/i;
/** `ssh` reads `-L` as words between colons and replaces `%` and `$`. */
const SOCKET_PATH = /^\/[^\0\n:%$[\]\\]{1,100}$/;

export type Target = { readonly address: string; readonly port: number } | { readonly socket: string };

/** Throws `invalid` for what no host could be asked for. */
export function checkTarget(target: Target): void {
  const isRight =
    'socket' in target
      ? SOCKET_PATH.test(target.socket)
      : TCP_ADDRESS.test(target.address) &&
        Number.isInteger(target.port) &&
        target.port >= 1 &&
        target.port <= 65_535;
  if (!isRight)
    throw new ExtensionError('invalid', 'A connection needs an address and a port, or the path of a socket.');
}

/** A stream to a TCP port. Whether somebody listens there is known only later: the stream then ends with an error. */
export function connectTcp(
  host: Host,
  master: SshMaster,
  connection: Connection,
  { address, port }: { readonly address: string; readonly port: number },
  options: SshOptions,
): Duplex {
  const place = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  const { child, ended } = spawnPiped('ssh', master.clientWords(connection, '-W', place), options);
  const complaint = collect(child.stderr, ERROR_BYTES_MAX, () => undefined);
  return new ChildDuplex(child, async () => {
    const { code } = await ended;
    const said = code === 0 ? '' : (await complaint).toString('utf8');
    // `ssh` ends with 0 whether the far side closed or the connection was lost.
    if (code === 0 && (await master.isAlive(connection))) return;
    if (/forwarding request failed|open failed/i.test(said))
      throw new ExtensionError('transient', `Nothing answers at ${place} on host ${host.name}.`);
    throw brokenLinkError(host, said);
  });
}

async function forwardSocket(
  host: Host,
  master: SshMaster,
  connection: Connection,
  remote: string,
): Promise<string> {
  const local = join(connection.directory, `f${connection.forwards.size}`);
  const options = ['-o', 'StreamLocalBindUnlink=yes', '-O', 'forward', '-L', `${local}:${remote}`];
  const { code, said } = await master.ask(connection, { options }, FORWARD_TIMEOUT_MS);
  if (code === 0) return local;
  const why = lastLine(said);
  throw new ExtensionError(
    'transient',
    `${remote} on host ${host.name} cannot be reached${why === '' ? '.' : `: ${asSentence(why)}`}`,
  );
}

/** A stream to a Unix socket of the host, by way of a socket in our own directory; made once a connection. */
export async function connectUnix(
  host: Host,
  master: SshMaster,
  connection: Connection,
  remote: string,
  signal: AbortSignal,
): Promise<Duplex> {
  let local = connection.forwards.get(remote);
  if (local === undefined) {
    local = forwardSocket(host, master, connection, remote);
    connection.forwards.set(remote, local);
    local.catch(() => connection.forwards.delete(remote));
  }
  return connectLocal({ path: await local }, host, signal);
}

/** A socket of this machine. */
export async function connectLocal(
  target: { readonly path: string } | { readonly host: string; readonly port: number },
  host: Host,
  signal: AbortSignal,
): Promise<Duplex> {
  const socket = connect({ ...target, allowHalfOpen: true });
  const ready = Promise.withResolvers<void>();
  socket.once('connect', ready.resolve);
  socket.once('error', (error) => {
    ready.reject(
      new ExtensionError('transient', `Nothing answers there on host ${host.name}.`, { cause: error }),
    );
  });
  const stop = onAbort(signal, () => ready.reject(calledOff(signal.reason)));
  try {
    await ready.promise;
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    stop();
  }
}

/** Ends the stream when the signal aborts before it was handed over. */
export function handOver(stream: Duplex, signal: AbortSignal): Duplex {
  if (!signal.aborted) return stream;
  stream.destroy();
  throw calledOff(signal.reason);
}
