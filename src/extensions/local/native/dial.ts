/** Greeted connections to an agent: opened when needed, or one ahead where commands follow each other closely. */
import { closeSync, openSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import type { Clock } from '../../../ports/clock.ts';
import { encodeFrame, FIELD, FRAME, PROTOCOL_MAGIC, PROTOCOL_TOKEN_BYTES, PROTOCOL_VERSION } from './wire.ts';

export interface AgentAddress {
  readonly socketPath: string;
  readonly token: Uint8Array;
}

/** Answers a connection on which magic and HELLO were sent; what is written in the same tick goes out with them. */
export type Dial = () => Socket;

/** What fits into a socket address, without the closing zero. */
const LONGEST_SOCKET_PATH = 107;
/** The agent waits a minute for the request that follows a greeting; a spare is given up long before. */
const SPARE_LIFE_MS = 10_000;
const ENDINGS = ['error', 'end', 'close'];

/** A path that is too long goes through a descriptor of its directory. */
function openSocket(socketPath: string): Socket {
  if (Buffer.byteLength(socketPath) <= LONGEST_SOCKET_PATH) {
    return connect({ path: socketPath, allowHalfOpen: true });
  }
  const directory = openSync(dirname(socketPath), 'r');
  const socket = connect({ path: `/proc/self/fd/${directory}/${basename(socketPath)}`, allowHalfOpen: true });
  const close = () => {
    socket.off('connect', close);
    socket.off('close', close);
    closeSync(directory);
  };
  socket.on('connect', close);
  socket.on('close', close);
  return socket;
}

export function dialer(address: AgentAddress): Dial {
  if (address.token.byteLength !== PROTOCOL_TOKEN_BYTES) throw new RangeError('a token has 32 bytes');
  return () => {
    const hello = encodeFrame(FRAME.HELLO, [
      [FIELD.VERSION, PROTOCOL_VERSION],
      [FIELD.TOKEN, address.token],
    ]);
    const socket = openSocket(address.socketPath);
    socket.cork();
    socket.write(Buffer.concat([Buffer.from(PROTOCOL_MAGIC, 'latin1'), hello]));
    process.nextTick(() => socket.uncork());
    return socket;
  };
}

/** Keeps one connection ahead while commands come within seconds of each other; none for a single command. */
export class SpareDialer {
  readonly #dial: Dial;
  readonly #clock: Clock;
  #spare: { readonly socket: Socket; release(): Socket } | null = null;
  #lastUseMs = Number.NEGATIVE_INFINITY;
  #isBusy = false;

  constructor(dial: Dial, clock: Clock) {
    this.#dial = dial;
    this.#clock = clock;
  }

  readonly dial: Dial = () => {
    const nowMs = this.#clock.nowMs();
    this.#isBusy = nowMs - this.#lastUseMs < SPARE_LIFE_MS;
    this.#lastUseMs = nowMs;
    return this.#spare?.release() ?? this.#dial();
  };

  /** Opens the next connection, if the last two uses were close together. */
  prepare(): void {
    if (!this.#isBusy || this.#spare !== null) return;
    const socket = this.#dial();
    const drop = () => {
      release();
      socket.destroy();
    };
    const callOff = this.#clock.after(SPARE_LIFE_MS, drop);
    const release = () => {
      callOff();
      for (const event of ENDINGS) socket.off(event, drop);
      if (this.#spare?.socket === socket) this.#spare = null;
      return socket.ref();
    };
    for (const event of ENDINGS) socket.on(event, drop);
    socket.unref();
    this.#spare = { socket, release };
  }

  close(): void {
    this.#spare?.release().destroy();
  }
}
