import { closeSync, openSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import { AgentError, fromSocketError } from './agent-error.ts';
import {
  ERROR_CODES,
  encodeFrame,
  encodeHeader,
  FIELD,
  type Field,
  Fields,
  FRAME,
  FrameDecoder,
  type FrameHandler,
  PROTOCOL_MAGIC,
  PROTOCOL_VERSION,
} from './wire.ts';

export interface AgentAddress {
  readonly socketPath: string;
  readonly token: Uint8Array;
}

export interface ReceivedFrame {
  readonly type: number;
  readonly payload: Buffer;
}

/** Received but not yet taken bytes beyond which the socket is paused, and below which it goes on. */
const PAUSE_BYTES = 1_048_576;
/** What a queued frame takes beside its payload: a flood of empty ones is held back too. */
const FRAME_COST_BYTES = 256;
const RESUME_BYTES = 262_144;
/** What fits into a socket address, without the closing zero. */
const LONGEST_SOCKET_PATH = 107;
/** The usual end of a request that nobody waits for any more; made once, since a stack costs more than the request. */
const CLOSED = new AgentError('disconnected', 'the connection was closed');
const STREAMED: ReadonlySet<number> = new Set([FRAME.STDOUT, FRAME.STDERR, FRAME.DATA]);

export function errorOf(payload: Buffer): AgentError {
  const fields = new Fields(payload);
  const code = ERROR_CODES[fields.number(FIELD.CODE) - 1] ?? 'internal';
  return new AgentError(code, fields.text(FIELD.TEXT) || 'the agent gave no reason');
}

export interface ChannelOptions {
  readonly signal?: AbortSignal | undefined;
  /** Sees each frame when it arrives, before it waits for its reader. */
  readonly onFrame?: (frame: ReceivedFrame) => void;
  readonly onFailure?: (error: AgentError) => void;
  /** After the first OK the connection carries plain bytes. */
  readonly rawAfterOk?: boolean;
}

function encodeRequest(type: number, fields: readonly Field[]): Buffer {
  try {
    return encodeFrame(type, fields);
  } catch (error) {
    throw new AgentError('invalid', 'the request is too long or holds a number that is none', {
      cause: error,
    });
  }
}

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

/** One connection for one request: sends magic, HELLO and the request at once, then hands out the answers in order. */
export class Channel implements FrameHandler {
  readonly #socket: Socket;
  readonly #decoder = new FrameDecoder();
  readonly #queue: ReceivedFrame[] = [];
  readonly #options: ChannelOptions;
  #queuedBytes = 0;
  #waiting: { resolve(frame: ReceivedFrame): void; reject(error: Error): void } | undefined;
  #failure: AgentError | undefined;
  #raw = false;

  constructor(address: AgentAddress, type: number, fields: readonly Field[], options: ChannelOptions = {}) {
    const request = encodeRequest(type, fields);
    const hello = encodeFrame(FRAME.HELLO, [
      [FIELD.VERSION, PROTOCOL_VERSION],
      [FIELD.TOKEN, address.token],
    ]);
    const signal = options.signal;
    this.#options = options;
    this.#socket = openSocket(address.socketPath);
    this.#socket.on('error', (error) => this.#fail(fromSocketError(error)));
    if (signal?.aborted) {
      this.#abort();
      return;
    }
    signal?.addEventListener('abort', this.#abort, { once: true });
    this.#socket.on('data', this.#received);
    this.#socket.on('end', this.#ended);
    this.#socket.on('close', this.#ended);
    this.#socket.write(Buffer.concat([Buffer.from(PROTOCOL_MAGIC, 'latin1'), hello, request]));
  }

  streams(type: number): boolean {
    return STREAMED.has(type);
  }

  piece(type: number, data: Buffer): void {
    if (data.length > 0) this.#deliver({ type, payload: data });
  }

  frame(type: number, payload: Buffer): boolean {
    if (STREAMED.has(type)) return true;
    if (type === FRAME.ERROR) {
      this.#fail(errorOf(payload));
      return false;
    }
    if (type === FRAME.OK && this.#options.rawAfterOk === true) this.#giveUpFraming();
    this.#deliver({ type, payload });
    return !this.#raw;
  }

  /** The next frame, or undefined when there is none right now; for loops that take all that is there. */
  take(): ReceivedFrame | undefined {
    const frame = this.#queue.shift();
    if (frame === undefined) return undefined;
    this.#queuedBytes -= frame.payload.length + FRAME_COST_BYTES;
    if (this.#queuedBytes < RESUME_BYTES && this.#socket.isPaused()) this.#socket.resume();
    return frame;
  }

  /** Waits for the next frame; an ERROR, a broken connection or an abort rejects once all before it was taken. */
  next(): Promise<ReceivedFrame> {
    const frame = this.take();
    if (frame !== undefined) return Promise.resolve(frame);
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#waiting !== undefined)
      return Promise.reject(new AgentError('protocol', 'two readers of one channel'));
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  async expect(type: number): Promise<Fields> {
    const frame = await this.next();
    if (frame.type !== type)
      throw new AgentError('protocol', `unexpected frame ${frame.type} from the agent`);
    return new Fields(frame.payload);
  }

  send(type: number, fields: readonly Field[] = []): void {
    if (this.#failure === undefined) this.#socket.write(encodeFrame(type, fields));
  }

  /** Sends one data frame; when it resolves the data was handed to the kernel and its memory is free again. */
  sendData(type: number, data: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#socket.cork();
      this.#socket.write(encodeHeader(type, data.byteLength));
      this.#socket.write(data, (error) => {
        if (error === undefined || error === null) resolve();
        else reject(this.#failure ?? fromSocketError(error));
      });
      this.#socket.uncork();
    });
  }

  close(): void {
    if (this.#waiting === undefined) this.#fail(CLOSED);
    else this.#fail(new AgentError('disconnected', 'the connection was closed'));
  }

  get failure(): AgentError | undefined {
    return this.#failure;
  }

  /** The plain connection after an OK with `rawAfterOk`; from here on it belongs to the caller. */
  get rawSocket(): Socket {
    if (!this.#raw) throw new AgentError('protocol', 'the connection still carries frames');
    return this.#socket;
  }

  #giveUpFraming(): void {
    this.#raw = true;
    this.#options.signal?.removeEventListener('abort', this.#abort);
    this.#socket.off('data', this.#received);
    this.#socket.off('end', this.#ended);
    this.#socket.off('close', this.#ended);
    this.#socket.pause();
  }

  #deliver(frame: ReceivedFrame): void {
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting = undefined;
      waiting.resolve(frame);
    } else {
      this.#queue.push(frame);
      this.#queuedBytes += frame.payload.length + FRAME_COST_BYTES;
      if (this.#queuedBytes >= PAUSE_BYTES && !this.#raw) this.#socket.pause();
    }
    /* Last, because it may close the channel. */
    this.#options.onFrame?.(frame);
  }

  readonly #received = (data: Buffer): void => {
    try {
      const used = this.#decoder.push(data, this);
      if (this.#raw && used < data.length) this.#socket.unshift(data.subarray(used));
    } catch (error) {
      this.#fail(new AgentError('protocol', 'the agent sent a broken frame', { cause: error }));
    }
  };

  readonly #ended = (): void => {
    this.#fail(new AgentError('disconnected', 'the agent ended the connection'));
  };

  readonly #abort = (): void => {
    this.#fail(new AgentError('aborted', 'the request was aborted', { cause: this.#options.signal?.reason }));
  };

  #fail(error: AgentError): void {
    if (this.#failure !== undefined || this.#raw) return;
    this.#failure = error;
    this.#options.signal?.removeEventListener('abort', this.#abort);
    this.#socket.destroy();
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(error);
    this.#options.onFailure?.(error);
  }
}
