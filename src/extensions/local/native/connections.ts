import { closeSync, openSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import type { Clock } from '../../../ports/clock.ts';

/** What fits into a socket address, without the closing zero. */
const LONGEST_SOCKET_PATH = 107;
/** Well below the two seconds that the agent waits, so that a request never meets a connection about to close. */
const KEEP_MS = 500;
/** Of all sandboxes together: each one is a descriptor here. */
const KEPT_TOTAL_MAX = 64;

/** Opens a connection; a path that is too long goes through a descriptor of its directory. */
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

interface Kept {
  readonly socket: Socket;
  readonly untilMs: number;
  /** Stops watching it. */
  release(): void;
}

/** The connections to one agent. One waits for its next request, and no more: what waits counts among the sandbox's processes. */
export class Connections {
  readonly #socketPath: string;
  readonly #clock: Clock | undefined;
  static #keptTotal = 0;
  #kept: Kept | null = null;

  /** Without a clock no connection is kept. */
  constructor(socketPath: string, clock?: Clock) {
    this.#socketPath = socketPath;
    this.#clock = clock;
  }

  /** `isGreeted`: it carried a request before, and the agent knows who is there. */
  take(): { readonly socket: Socket; readonly isGreeted: boolean } {
    const kept = this.#kept;
    if (kept !== null && this.#clock !== undefined && kept.untilMs > this.#clock.monotonicMs()) {
      this.#kept = null;
      kept.release();
      return { socket: kept.socket.ref(), isGreeted: true };
    }
    this.close();
    return { socket: openSocket(this.#socketPath), isGreeted: false };
  }

  /** Takes back a connection whose request was answered to its end, for a while; it does not hold the program open. */
  give(socket: Socket): void {
    const clock = this.#clock;
    const isFull = this.#kept !== null || Connections.#keptTotal >= KEPT_TOTAL_MAX;
    if (clock === undefined || isFull || socket.destroyed) {
      socket.destroy();
      return;
    }
    const drop = () => this.close();
    const callOff = clock.after(KEEP_MS, drop);
    const events = ['data', 'end', 'close', 'error'] as const;
    this.#kept = {
      socket,
      untilMs: clock.monotonicMs() + KEEP_MS,
      release: () => {
        Connections.#keptTotal -= 1;
        callOff();
        for (const event of events) socket.off(event, drop);
      },
    };
    for (const event of events) socket.on(event, drop);
    socket.resume();
    socket.unref();
    Connections.#keptTotal += 1;
  }

  /** Ends the one that waits. */
  close(): void {
    const kept = this.#kept;
    this.#kept = null;
    kept?.release();
    kept?.socket.destroy();
  }
}
