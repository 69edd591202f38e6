import { AgentError } from './agent-error.ts';
import { type AgentAddress, Channel, type ReceivedFrame } from './channel.ts';
import { FIELD, type Field, Fields, FRAME, PROTOCOL_MAX_PAYLOAD } from './wire.ts';

export interface ExecSpec {
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Default `/workspace`. */
  readonly cwd?: string;
  /** Default `user`. */
  readonly user?: 'user' | 'root';
  readonly tty?: { readonly columns: number; readonly rows: number };
  /** Default `null`: the command reads nothing. A terminal always takes input. */
  readonly stdin?: 'pipe' | 'null';
  /** After this time the whole process group is killed. */
  readonly timeoutMs?: number;
  /** Of both streams together; more is dropped, and the command goes on. */
  readonly outputLimitBytes?: number;
  /** The command outlives the connection; its output goes to the sandbox's log. */
  readonly detach?: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface ExecOutput {
  readonly stream: 'stdout' | 'stderr';
  readonly data: Uint8Array;
}

export interface ExecExit {
  /** 128 plus the signal's number when a signal ended the command. */
  readonly exitCode: number;
  readonly signal: number | null;
  readonly timedOut: boolean;
  readonly outputTruncated: boolean;
}

export interface ExecSession {
  readonly pid: number;
  /** To be read by one reader; as long as nobody reads, about one MiB is taken and then the command waits. */
  readonly output: AsyncIterable<ExecOutput>;
  write(data: Uint8Array): Promise<void>;
  closeInput(): void;
  /** Signals the command's process group; nothing happens when it has ended. */
  signal(signalNumber: number): Promise<void>;
  resize(columns: number, rows: number): void;
  /** Rejects with an AgentError when the connection breaks. For a detached command it resolves at once with 0. */
  readonly exit: Promise<ExecExit>;
  /** Leaves; a command that still runs is killed. */
  close(): void;
}

const DETACHED_EXIT: ExecExit = { exitCode: 0, signal: null, timedOut: false, outputTruncated: false };

function requestFields(spec: ExecSpec): Field[] {
  const fields: Field[] = spec.argv.map((argument): Field => [FIELD.ARGUMENT, argument]);
  for (const [name, value] of Object.entries(spec.env ?? {})) {
    fields.push([FIELD.ENVIRONMENT, `${name}=${value}`]);
  }
  if (spec.cwd !== undefined) fields.push([FIELD.WORKING_DIRECTORY, spec.cwd]);
  if (spec.user !== undefined) fields.push([FIELD.USER, spec.user]);
  if (spec.tty !== undefined) {
    fields.push([FIELD.TTY, true], [FIELD.COLUMNS, spec.tty.columns], [FIELD.ROWS, spec.tty.rows]);
  }
  if (spec.stdin === 'pipe') fields.push([FIELD.STDIN, true]);
  if (spec.timeoutMs !== undefined) fields.push([FIELD.TIMEOUT_MS, Math.ceil(spec.timeoutMs)]);
  if (spec.outputLimitBytes !== undefined) fields.push([FIELD.OUTPUT_LIMIT, spec.outputLimitBytes]);
  if (spec.detach === true) fields.push([FIELD.DETACH, true]);
  return fields;
}

function exitOf(payload: Buffer): ExecExit {
  const fields = new Fields(payload);
  const signal = fields.number(FIELD.SIGNAL);
  return {
    exitCode: fields.number(FIELD.EXIT_CODE),
    signal: signal === 0 ? null : signal,
    timedOut: fields.number(FIELD.TIMED_OUT) !== 0,
    outputTruncated: fields.number(FIELD.TRUNCATED) !== 0,
  };
}

class AttachedSession implements ExecSession {
  readonly pid: number;
  readonly exit: Promise<ExecExit>;
  readonly #address: AgentAddress;
  readonly #channel: Channel;
  readonly #finished: () => boolean;
  readonly #takesInput: boolean;

  constructor(
    address: AgentAddress,
    channel: Channel,
    pid: number,
    exit: Promise<ExecExit>,
    finished: () => boolean,
    takesInput: boolean,
  ) {
    this.#address = address;
    this.#channel = channel;
    this.pid = pid;
    this.exit = exit;
    this.#finished = finished;
    this.#takesInput = takesInput;
  }

  #turn: Promise<void> = Promise.resolve();

  get output(): AsyncIterable<ExecOutput> {
    return this.#read();
  }

  async *#read(): AsyncGenerator<ExecOutput, void, undefined> {
    for (;;) {
      const frame = this.#channel.take() ?? (await this.#channel.next());
      if (frame.type === FRAME.EXIT) return;
      yield { stream: frame.type === FRAME.STDERR ? 'stderr' : 'stdout', data: frame.payload };
    }
  }

  /** Writes follow each other in the order asked, awaited or not. */
  write(data: Uint8Array): Promise<void> {
    if (!this.#takesInput) return Promise.resolve();
    const written = this.#turn.then(() => this.#write(data));
    this.#turn = written.catch(() => undefined); // told to whoever asked for it
    return written;
  }

  async #write(data: Uint8Array): Promise<void> {
    for (let start = 0; start < data.byteLength; start += PROTOCOL_MAX_PAYLOAD) {
      /* A pipe nobody reads any more swallows; so does a command that has ended. */
      if (this.#finished()) return;
      try {
        await this.#channel.sendData(FRAME.STDIN, data.subarray(start, start + PROTOCOL_MAX_PAYLOAD));
      } catch (error) {
        if (!this.#finished()) throw error;
      }
    }
  }

  closeInput(): void {
    if (!this.#takesInput) return;
    this.#turn = this.#turn.then(() => this.#channel.send(FRAME.STDIN_EOF));
  }

  async signal(signalNumber: number): Promise<void> {
    if (this.#finished()) return;
    /* A connection of its own: on the first one it could wait behind input the command does not read. */
    const fields: Field[] = [
      [FIELD.PROCESS, this.pid],
      [FIELD.SIGNAL, signalNumber],
    ];
    const channel = new Channel(this.#address, FRAME.SIGNAL_COMMAND, fields);
    try {
      await channel.expect(FRAME.OK);
    } catch (error) {
      if (!(error instanceof AgentError && error.code === 'not_found')) throw error;
    } finally {
      channel.close();
    }
  }

  resize(columns: number, rows: number): void {
    if (!this.#takesInput) return;
    this.#channel.send(FRAME.RESIZE, [
      [FIELD.COLUMNS, columns],
      [FIELD.ROWS, rows],
    ]);
  }

  close(): void {
    this.#channel.close();
  }
}

async function* noOutput(): AsyncGenerator<ExecOutput, void, undefined> {}

/** Resolves when the command runs; a command that cannot start rejects with `not_found`, `denied` and the like. */
export async function startExec(address: AgentAddress, spec: ExecSpec): Promise<ExecSession> {
  const exit = Promise.withResolvers<ExecExit>();
  /* After such a command the agent ends the connection: what was on its way in could be taken for a request. */
  const takesInput = spec.stdin === 'pipe' || spec.tty !== undefined;
  let finished = false;
  exit.promise.catch(() => undefined);
  const onFrame = (frame: ReceivedFrame) => {
    if (frame.type !== FRAME.EXIT) return;
    finished = true;
    exit.resolve(exitOf(frame.payload));
    if (takesInput) channel.close();
    else channel.release();
  };
  const options = { signal: spec.signal, onFrame, onFailure: (error: AgentError) => exit.reject(error) };
  const channel = new Channel(address, FRAME.EXEC, requestFields(spec), options);
  const started = await channel.expect(FRAME.STARTED);
  const pid = started.number(FIELD.PROCESS);
  if (spec.detach !== true)
    return new AttachedSession(address, channel, pid, exit.promise, () => finished, takesInput);
  channel.close();
  return {
    pid,
    output: noOutput(),
    write: () => Promise.reject(new AgentError('unsupported', 'a detached command has no input')),
    closeInput: () => undefined,
    signal: (signalNumber) =>
      new AttachedSession(address, channel, pid, exit.promise, () => false, false).signal(signalNumber),
    resize: () => undefined,
    exit: Promise.resolve(DETACHED_EXIT),
    close: () => undefined,
  };
}
