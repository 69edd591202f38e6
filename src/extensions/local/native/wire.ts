/** The wire protocol of the sandbox agent: frames (type, length, payload) holding fields (tag, length, bytes). */

export const PROTOCOL_VERSION = 1;
export const PROTOCOL_MAGIC = 'SBX1';
export const PROTOCOL_HEADER_BYTES = 5;
export const PROTOCOL_MAX_PAYLOAD = 262_144;
export const PROTOCOL_TOKEN_BYTES = 32;

export const FRAME = {
  HELLO: 1,
  STATUS: 2,
  SET_DEADLINE: 3,
  SHUTDOWN: 4,
  EXEC: 5,
  READ_FILE: 6,
  WRITE_FILE: 7,
  LIST_DIRECTORY: 8,
  STAT: 9,
  MAKE_DIRECTORY: 10,
  REMOVE: 11,
  FORWARD: 12,
  SIGNAL_COMMAND: 13,
  STDIN: 32,
  STDIN_EOF: 33,
  SIGNAL: 34,
  RESIZE: 35,
  DATA: 36,
  END: 37,
  OK: 64,
  ERROR: 65,
  STARTED: 66,
  STDOUT: 67,
  STDERR: 68,
  EXIT: 69,
  ENTRY: 70,
  LAUNCH: 96,
  LAUNCHED: 97,
  LAUNCH_FAILED: 98,
  ENDED: 99,
} as const;

export const FIELD = {
  VERSION: 1,
  TOKEN: 2,
  CODE: 3,
  TEXT: 4,
  REMAINING_MS: 5,
  CAP_MS: 6,
  UPTIME_MS: 7,
  IDLE_MS: 8,
  SESSIONS: 9,
  COMMANDS: 10,
  PROCESSES: 11,
  MEMORY: 12,
  AGENT_MEMORY: 13,
  DETACHED: 14,
  ARGUMENT: 20,
  ENVIRONMENT: 21,
  WORKING_DIRECTORY: 22,
  USER: 23,
  TTY: 24,
  COLUMNS: 25,
  ROWS: 26,
  STDIN: 27,
  TIMEOUT_MS: 28,
  OUTPUT_LIMIT: 29,
  DETACH: 30,
  PROCESS: 31,
  SIGNAL: 32,
  TIMED_OUT: 33,
  TRUNCATED: 34,
  EXIT_CODE: 35,
  PATH: 40,
  OFFSET: 41,
  LENGTH: 42,
  MODE: 43,
  PARENTS: 44,
  RECURSIVE: 45,
  NAME: 46,
  TYPE: 47,
  SIZE: 48,
  MODIFIED_MS: 49,
  USER_ID: 50,
  GROUP_ID: 51,
  LINK: 52,
  PORT: 53,
  REQUEST: 60,
  DIRECTORY: 61,
  CGROUP_FILE: 62,
  IDENTITY: 63,
  ID_BASE: 64,
  BOX_STEP: 65,
  LOG_LIMIT: 67,
  MAX_SESSIONS: 68,
  OWNED_DIRECTORY: 69,
  DEADLINE_NS: 71,
  CAP_NS: 72,
  PROCESS_LIMIT: 73,
} as const;

export const ERROR_CODES = [
  'invalid',
  'unauthenticated',
  'not_found',
  'denied',
  'exists',
  'unsupported',
  'busy',
  'limit',
  'io',
  'internal',
] as const;
export type AgentErrorCode = (typeof ERROR_CODES)[number];

export const FILE_TYPES = ['other', 'file', 'directory', 'link'] as const;
export type FileType = (typeof FILE_TYPES)[number];

export type FieldValue = string | number | boolean | Uint8Array;
export type Field = readonly [tag: number, value: FieldValue];

function valueBytes(value: FieldValue): Uint8Array {
  if (typeof value === 'string') return Buffer.from(value, 'utf8');
  if (typeof value === 'object') return value;
  const number = BigInt(value);
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64LE(number, 0);
  return bytes;
}

export function encodeHeader(type: number, length: number): Buffer {
  if (length > PROTOCOL_MAX_PAYLOAD) throw new RangeError('the request is longer than a frame may be');
  const header = Buffer.allocUnsafe(PROTOCOL_HEADER_BYTES);
  header.writeUInt8(type, 0);
  header.writeUInt32LE(length, 1);
  return header;
}

/** One whole frame with fields; throws a RangeError when it would be too long. */
export function encodeFrame(type: number, fields: readonly Field[] = []): Buffer {
  const parts: Uint8Array[] = [];
  let length = 0;
  for (const [tag, value] of fields) {
    const bytes = valueBytes(value);
    const header = Buffer.allocUnsafe(PROTOCOL_HEADER_BYTES);
    header.writeUInt8(tag, 0);
    header.writeUInt32LE(bytes.byteLength, 1);
    parts.push(header, bytes);
    length += PROTOCOL_HEADER_BYTES + bytes.byteLength;
  }
  return Buffer.concat([encodeHeader(type, length), ...parts]);
}

/** The fields of a complete payload. */
export class Fields {
  readonly #payload: Buffer;

  constructor(payload: Buffer) {
    this.#payload = payload;
  }

  bytes(tag: number): Buffer | undefined {
    const payload = this.#payload;
    let position = 0;
    while (payload.length - position >= PROTOCOL_HEADER_BYTES) {
      const length = payload.readUInt32LE(position + 1);
      const start = position + PROTOCOL_HEADER_BYTES;
      if (length > payload.length - start) return undefined;
      if (payload[position] === tag) return payload.subarray(start, start + length);
      position = start + length;
    }
    return undefined;
  }

  number(tag: number, otherwise = 0): number {
    const value = this.bytes(tag);
    if (value === undefined || value.length !== 8) return otherwise;
    return Number(value.readBigInt64LE(0));
  }

  text(tag: number): string {
    return this.bytes(tag)?.toString('utf8') ?? '';
  }
}

export interface FrameHandler {
  /** Whether a frame's payload comes in pieces as it arrives instead of as one. */
  streams(type: number): boolean;
  /** A piece of a streamed frame, a view of what was received. */
  piece(type: number, data: Buffer): void;
  /** A whole frame; for a streamed one its payload is empty. False stops: what follows are no frames. */
  frame(type: number, payload: Buffer): boolean;
}

const EMPTY = Buffer.alloc(0);

/** Cuts received bytes into frames. Holds at most one payload; data of streamed frames is handed on uncopied. */
export class FrameDecoder {
  #header = Buffer.alloc(PROTOCOL_HEADER_BYTES);
  #headerLength = 0;
  #type = 0;
  #left = 0;
  #streamed = false;
  #parts: Buffer[] = [];

  get isBetweenFrames(): boolean {
    return this.#headerLength === 0;
  }

  /** Returns how many bytes were used. Throws a RangeError for a frame longer than the protocol allows. */
  push(data: Buffer, handler: FrameHandler): number {
    let position = 0;
    while (position < data.length) {
      if (this.#headerLength < PROTOCOL_HEADER_BYTES) {
        const wanted = Math.min(PROTOCOL_HEADER_BYTES - this.#headerLength, data.length - position);
        data.copy(this.#header, this.#headerLength, position, position + wanted);
        this.#headerLength += wanted;
        position += wanted;
        if (this.#headerLength < PROTOCOL_HEADER_BYTES) return position;
        this.#begin(handler);
      } else {
        const taken = Math.min(this.#left, data.length - position);
        const piece = data.subarray(position, position + taken);
        position += taken;
        this.#left -= taken;
        if (this.#streamed) handler.piece(this.#type, piece);
        else this.#parts.push(piece);
      }
      if (this.#left === 0 && !this.#finish(handler)) return position;
    }
    return position;
  }

  #begin(handler: FrameHandler): void {
    this.#type = this.#header.readUInt8(0);
    this.#left = this.#header.readUInt32LE(1);
    if (this.#left > PROTOCOL_MAX_PAYLOAD) throw new RangeError('a received frame is too long');
    this.#streamed = handler.streams(this.#type);
  }

  #finish(handler: FrameHandler): boolean {
    const [first, ...others] = this.#parts;
    let payload = first ?? EMPTY;
    if (others.length > 0) payload = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#headerLength = 0;
    return handler.frame(this.#type, payload);
  }
}
