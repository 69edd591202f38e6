import { closeSync, openSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import type { Clock } from '../../../ports/clock.ts';

/** What fits into a socket address, without the closing zero. */
const LONGEST_SOCKET_PATH = 107;
/** Well below the two seconds that the agent waits, so that a request never meets a connection about to close. */
const KEEP_MS = 500;
/** Of one sandbox: what waits there counts among its processes. */
const KEPT_MAX = 1;
/** Of all sandboxes together: each one is a descriptor here, too. */
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

/** The connections to one agent: those that wait for their next request are used first, the last one before others. */
export class Connections {
  readonly #socketPath: string;
  readonly #clock: Clock | undefined;
  static #keptTotal = 0;
  #kept: Kept[] = [];

  /** Without a clock no connection is kept. */
  constructor(socketPath: string, clock?: Clock) {
    this.#socketPath = socketPath;
    this.#clock = clock;
  }

  /** `isGreeted`: it carried a request before, and the agent knows who is there. */
  take(): { readonly socket: Socket; readonly isGreeted: boolean } {
    const nowMs = this.#clock?.monotonicMs() ?? 0;
    for (let kept = this.#kept.pop(); kept !== undefined; kept = this.#kept.pop()) {
      kept.release();
      if (kept.untilMs > nowMs) return { socket: kept.socket.ref(), isGreeted: true };
      kept.socket.destroy();
    }
    return { socket: openSocket(this.#socketPath), isGreeted: false };
  }

  /** Takes back a connection whose request was answered to its end, for a while; it does not hold the program open. */
  give(socket: Socket): void {
    const clock = this.#clock;
    const isFull = this.#kept.length >= KEPT_MAX || Connections.#keptTotal >= KEPT_TOTAL_MAX;
    if (clock === undefined || isFull || socket.destroyed) {
      socket.destroy();
      return;
    }
    const drop = () => {
      this.#kept = this.#kept.filter((other) => other !== kept);
      kept.release();
      socket.destroy();
    };
    const callOff = clock.after(KEEP_MS, drop);
    const events = ['data', 'end', 'close', 'error'] as const;
    const kept: Kept = {
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
    this.#kept.push(kept);
    Connections.#keptTotal += 1;
  }

  close(): void {
    for (const { socket, release } of this.#kept.splice(0)) {
      release();
      socket.destroy();
    }
  }
}
