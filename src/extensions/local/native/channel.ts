import type { Socket } from 'node:net';
import { AgentError, fromSocketError } from './agent-error.ts';
import type { Connections } from './connections.ts';
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
  readonly connections: Connections;
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

/** Magic and HELLO, which begin a connection. */
function encodeGreeting(token: Uint8Array): Buffer {
  const hello = encodeFrame(FRAME.HELLO, [
    [FIELD.VERSION, PROTOCOL_VERSION],
    [FIELD.TOKEN, token],
  ]);
  return Buffer.concat([Buffer.from(PROTOCOL_MAGIC, 'latin1'), hello]);
}

/** One request on a connection, which it has for itself; hands out the answers in order. */
export class Channel implements FrameHandler {
  readonly #socket: Socket;
  readonly #connections: Connections;
  readonly #decoder = new FrameDecoder();
  readonly #queue: ReceivedFrame[] = [];
  readonly #options: ChannelOptions;
  #queuedBytes = 0;
  #waiting: { resolve(frame: ReceivedFrame): void; reject(error: Error): void } | undefined;
  #failure: AgentError | undefined;
  #raw = false;
  #isReceiving = false;
  #isGivenBack = false;

  constructor(address: AgentAddress, type: number, fields: readonly Field[], options: ChannelOptions = {}) {
    const request = encodeRequest(type, fields);
    const signal = options.signal;
    const { socket, isGreeted } = address.connections.take();
    this.#options = options;
    this.#connections = address.connections;
    this.#socket = socket;
    this.#socket.on('error', this.#broken);
    if (signal?.aborted) {
      this.#abort();
      return;
    }
    signal?.addEventListener('abort', this.#abort, { once: true });
    this.#socket.on('data', this.#received);
    this.#socket.on('end', this.#ended);
    this.#socket.on('close', this.#ended);
    this.#socket.write(isGreeted ? request : Buffer.concat([encodeGreeting(address.token), request]));
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
    return !this.#raw && this.#failure === undefined;
  }

  /** The next frame, or undefined when there is none right now; for loops that take all that is there. */
  take(): ReceivedFrame | undefined {
    const frame = this.#queue.shift();
    if (frame === undefined) return undefined;
    this.#queuedBytes -= frame.payload.length + FRAME_COST_BYTES;
    if (this.#queuedBytes < RESUME_BYTES && this.#failure === undefined && this.#socket.isPaused())
      this.#socket.resume();
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

  /**
   * Ends the request after its last answer, and keeps the connection for another one. Only for requests after which the
   * agent waits for the next, and of which nothing more is sent. Answers already received may still be taken.
   */
  release(): void {
    if (this.#failure !== undefined || this.#raw) return;
    this.#failure = CLOSED;
    this.#detach();
    this.#isGivenBack = true;
    if (!this.#isReceiving) this.#giveBack(this.#decoder.isBetweenFrames && this.#queue.length === 0);
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
    this.#detach();
    this.#socket.on('error', this.#broken);
    this.#socket.pause();
  }

  /** From here on the socket is somebody else's. */
  #detach(): void {
    this.#options.signal?.removeEventListener('abort', this.#abort);
    this.#socket.off('error', this.#broken);
    this.#socket.off('data', this.#received);
    this.#socket.off('end', this.#ended);
    this.#socket.off('close', this.#ended);
  }

  #giveBack(isClean: boolean): void {
    if (isClean) this.#connections.give(this.#socket);
    else this.#socket.destroy();
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
    this.#isReceiving = true;
    try {
      const used = this.#decoder.push(data, this);
      if (this.#raw && used < data.length) this.#socket.unshift(data.subarray(used));
      if (this.#isGivenBack) this.#giveBack(used === data.length);
    } catch (error) {
      this.#fail(new AgentError('protocol', 'the agent sent a broken frame', { cause: error }));
    } finally {
      this.#isReceiving = false;
    }
  };

  readonly #broken = (error: Error): void => {
    this.#fail(fromSocketError(error));
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
