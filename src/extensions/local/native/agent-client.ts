import type { Duplex } from 'node:stream';
import type { Clock } from '../../../ports/clock.ts';
import { AgentError } from './agent-error.ts';
import { type AgentAddress, Channel } from './channel.ts';
import { Connections } from './connections.ts';
import { type ExecSession, type ExecSpec, startExec } from './exec-session.ts';
import {
  FIELD,
  FILE_TYPES,
  type Field,
  Fields,
  type FileType,
  FRAME,
  PROTOCOL_MAX_PAYLOAD,
  PROTOCOL_TOKEN_BYTES,
} from './wire.ts';

export interface AgentStatus {
  readonly protocolVersion: number;
  readonly uptimeMs: number;
  readonly deadlineRemainingMs: number;
  readonly capRemainingMs: number;
  readonly idleMs: number;
  /** Attached commands, transfers and forwards that run now. */
  readonly sessionsRunning: number;
  readonly detachedRunning: number;
  readonly commandsTotal: number;
  readonly processes: number;
  /** Resident memory of all processes inside, shared pages counted once for each. */
  readonly memoryBytes: number;
  readonly agentMemoryBytes: number;
}

export interface FileInfo {
  readonly type: FileType;
  readonly size: number;
  readonly modeBits: number;
  readonly modifiedMs: number;
  readonly userId: number;
  readonly groupId: number;
  /** The target, for a link. */
  readonly link?: string;
}

export interface DirectoryEntry extends Omit<FileInfo, 'link'> {
  readonly name: string;
}

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface ReadFileOptions extends RequestOptions {
  readonly offset?: number;
  readonly length?: number;
}

export interface WriteFileOptions extends RequestOptions {
  readonly modeBits?: number;
  readonly makeParents?: boolean;
}

/** Times come from inside; this is the last one that a Date can hold. */
const LATEST_INSTANT_MS = 8_640_000_000_000_000;
const ENTRIES_LIMIT = 200_000;

function fileInfo(fields: Fields): Omit<FileInfo, 'link'> {
  return {
    type: FILE_TYPES[fields.number(FIELD.TYPE)] ?? 'other',
    size: fields.number(FIELD.SIZE),
    modeBits: fields.number(FIELD.MODE),
    modifiedMs: Math.min(fields.number(FIELD.MODIFIED_MS), LATEST_INSTANT_MS),
    userId: fields.number(FIELD.USER_ID),
    groupId: fields.number(FIELD.GROUP_ID),
  };
}

/** Talks to one sandbox's agent. */
export class AgentClient {
  readonly #address: AgentAddress;
  readonly #signal: AbortSignal | undefined;

  constructor(address: AgentAddress, signal?: AbortSignal) {
    if (address.token.byteLength !== PROTOCOL_TOKEN_BYTES) throw new RangeError('a token has 32 bytes');
    this.#address = address;
    this.#signal = signal;
  }

  /** Ends the connections that are kept for later; what runs goes on. */
  close(): void {
    this.#address.connections.close();
  }

  async status(options: RequestOptions = {}): Promise<AgentStatus> {
    const fields = await this.#ask(FRAME.STATUS, [], options);
    return {
      protocolVersion: fields.number(FIELD.VERSION),
      uptimeMs: fields.number(FIELD.UPTIME_MS),
      deadlineRemainingMs: fields.number(FIELD.REMAINING_MS),
      capRemainingMs: fields.number(FIELD.CAP_MS),
      idleMs: fields.number(FIELD.IDLE_MS),
      sessionsRunning: fields.number(FIELD.SESSIONS),
      detachedRunning: fields.number(FIELD.DETACHED),
      commandsTotal: fields.number(FIELD.COMMANDS),
      processes: fields.number(FIELD.PROCESSES),
      memoryBytes: fields.number(FIELD.MEMORY),
      agentMemoryBytes: fields.number(FIELD.AGENT_MEMORY),
    };
  }

  /** Returns what was granted: never more than the cap allows. */
  async setDeadline(remainingMs: number, options: RequestOptions = {}): Promise<number> {
    const fields = await this.#ask(
      FRAME.SET_DEADLINE,
      [[FIELD.REMAINING_MS, Math.ceil(remainingMs)]],
      options,
    );
    return fields.number(FIELD.REMAINING_MS);
  }

  async shutdown(options: RequestOptions = {}): Promise<void> {
    await this.#ask(FRAME.SHUTDOWN, [], options);
  }

  exec(spec: ExecSpec): Promise<ExecSession> {
    return startExec(this.#address, { ...spec, signal: this.#combine(spec.signal) });
  }

  /** Signals the process group of a running command, detached ones included. */
  async signalCommand(pid: number, signalNumber: number, options: RequestOptions = {}): Promise<void> {
    const fields: Field[] = [
      [FIELD.PROCESS, pid],
      [FIELD.SIGNAL, signalNumber],
    ];
    await this.#ask(FRAME.SIGNAL_COMMAND, fields, options);
  }

  async *readFile(path: string, options: ReadFileOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const fields: Field[] = [[FIELD.PATH, path]];
    if (options.offset !== undefined) fields.push([FIELD.OFFSET, options.offset]);
    if (options.length !== undefined) fields.push([FIELD.LENGTH, options.length]);
    const channel = this.#open(FRAME.READ_FILE, fields, options);
    try {
      for (;;) {
        const frame = await channel.next();
        if (frame.type === FRAME.END) return;
        if (frame.type !== FRAME.DATA) throw new AgentError('protocol', 'unexpected frame in a file');
        yield frame.payload;
      }
    } finally {
      channel.close();
    }
  }

  /** Returns the number of bytes written. The file is written in place: an error leaves what came before it. */
  async writeFile(
    path: string,
    source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: WriteFileOptions = {},
  ): Promise<number> {
    const fields: Field[] = [
      [FIELD.PATH, path],
      [FIELD.PARENTS, options.makeParents ?? false],
    ];
    if (options.modeBits !== undefined) fields.push([FIELD.MODE, options.modeBits]);
    const channel = this.#open(FRAME.WRITE_FILE, fields, options);
    try {
      for await (const chunk of source) {
        for (let start = 0; start < chunk.byteLength; start += PROTOCOL_MAX_PAYLOAD) {
          await channel.sendData(FRAME.DATA, chunk.subarray(start, start + PROTOCOL_MAX_PAYLOAD));
        }
      }
      channel.send(FRAME.END);
      const answer = await channel.expect(FRAME.OK);
      return answer.number(FIELD.SIZE);
    } finally {
      channel.close();
    }
  }

  async listDirectory(path: string, options: RequestOptions = {}): Promise<DirectoryEntry[]> {
    const channel = this.#open(FRAME.LIST_DIRECTORY, [[FIELD.PATH, path]], options);
    const entries: DirectoryEntry[] = [];
    try {
      for (;;) {
        const frame = await channel.next();
        if (frame.type === FRAME.END) return entries;
        if (frame.type !== FRAME.ENTRY) throw new AgentError('protocol', 'unexpected frame in a directory');
        if (entries.length >= ENTRIES_LIMIT)
          throw new AgentError('limit', 'the directory has too many entries');
        const fields = new Fields(frame.payload);
        entries.push({ name: fields.text(FIELD.NAME), ...fileInfo(fields) });
      }
    } finally {
      channel.close();
    }
  }

  /** Links are not followed. */
  async stat(path: string, options: RequestOptions = {}): Promise<FileInfo> {
    const fields = await this.#ask(FRAME.STAT, [[FIELD.PATH, path]], options);
    const link = fields.bytes(FIELD.LINK);
    return link === undefined ? fileInfo(fields) : { ...fileInfo(fields), link: link.toString('utf8') };
  }

  async makeDirectory(
    path: string,
    options: RequestOptions & { readonly makeParents?: boolean; readonly modeBits?: number } = {},
  ): Promise<void> {
    const fields: Field[] = [
      [FIELD.PATH, path],
      [FIELD.PARENTS, options.makeParents ?? false],
    ];
    if (options.modeBits !== undefined) fields.push([FIELD.MODE, options.modeBits]);
    await this.#ask(FRAME.MAKE_DIRECTORY, fields, options);
  }

  async remove(path: string, options: RequestOptions & { readonly recursive?: boolean } = {}): Promise<void> {
    const fields: Field[] = [
      [FIELD.PATH, path],
      [FIELD.RECURSIVE, options.recursive ?? false],
    ];
    await this.#ask(FRAME.REMOVE, fields, options);
  }

  /** A connection to a TCP port on the loopback address inside. */
  async forward(port: number, options: RequestOptions = {}): Promise<Duplex> {
    const signal = this.#combine(options.signal);
    const channel = new Channel(this.#address, FRAME.FORWARD, [[FIELD.PORT, port]], {
      signal,
      rawAfterOk: true,
    });
    await channel.expect(FRAME.OK);
    return channel.rawSocket;
  }

  async #ask(type: number, fields: readonly Field[], options: RequestOptions): Promise<Fields> {
    const channel = this.#open(type, fields, options);
    try {
      return await channel.expect(FRAME.OK);
    } finally {
      if (type === FRAME.STATUS) channel.release();
      else channel.close();
    }
  }

  #open(type: number, fields: readonly Field[], options: RequestOptions): Channel {
    return new Channel(this.#address, type, fields, { signal: this.#combine(options.signal) });
  }

  #combine(signal: AbortSignal | undefined): AbortSignal | undefined {
    if (signal === undefined || this.#signal === undefined) return signal ?? this.#signal;
    return AbortSignal.any([signal, this.#signal]);
  }
}

/** With a clock, commands and looks that follow each other share a connection. */
export function connectAgent(options: {
  readonly socketPath: string;
  readonly token: Uint8Array;
  readonly clock?: Clock;
  readonly signal?: AbortSignal;
}): AgentClient {
  const connections = new Connections(options.socketPath, options.clock);
  return new AgentClient({ connections, token: options.token }, options.signal);
}
