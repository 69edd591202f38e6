/** One command in a container, over the engine's exec. */
import type { Duplex } from 'node:stream';
import { type Clock, timeoutSignal } from '../../ports/clock.ts';
import {
  type ExecExit,
  type ExecOutput,
  type ExecSession,
  type ExecSpec,
  ExtensionError,
} from '../../ports/extension.ts';
import type { EngineApi } from './engine-api.ts';
import { lastWords } from './errors.ts';
import { OutputQueue, splitFrames } from './frames.ts';

/** Says its process id first, so that the command can be ended; then becomes the command. */
const BECOME = 'echo $$; exec "$@"';
/** The same, talking to the container's log where that may be written. */
const BECOME_DETACHED =
  'echo $$; exec </dev/null; if [ -w /proc/1/fd/1 ]; then exec >/proc/1/fd/1 2>&1; else exec >/dev/null 2>&1; fi; exec "$@"';
/** What a shell adds to the number of the signal that ended a command. */
const SIGNAL_BASE = 128;
const QUICK_MS = 10_000;
const PROCESS_ID_BYTES_MAX = 256;
/** Before the process id; more than that is no command that begins. */
const HEAD_BYTES_MAX = 1024 * 1024;
/** Between telling a command to end and not listening to it any more. */
const END_PATIENCE_MS = 2_000;

export interface ExecTarget {
  readonly api: EngineApi;
  readonly container: string;
  readonly clock: Clock;
}

interface Started {
  readonly id: string;
  readonly stream: Duplex;
}

async function startExec(target: ExecTarget, body: object, signal: AbortSignal): Promise<Started> {
  const { api, container } = target;
  const { Id: id } = await api.json<{ Id: string }>({
    method: 'POST',
    path: `/containers/${container}/exec`,
    body,
    signal,
  });
  const tty = (body as { Tty?: boolean }).Tty === true;
  const stream = await api.stream({
    method: 'POST',
    path: `/exec/${id}/start`,
    body: { Detach: false, Tty: tty },
    signal,
  });
  return { id, stream };
}

function execBody(spec: ExecSpec): object {
  return {
    AttachStdin: spec.stdin || spec.terminal !== null,
    AttachStdout: true,
    AttachStderr: true,
    Tty: spec.terminal !== null,
    Cmd: ['/bin/sh', '-c', spec.detach ? BECOME_DETACHED : BECOME, 'sh', ...spec.command],
    Env: Object.entries(spec.environment).map(([name, value]) => `${name}=${value}`),
    ...(spec.user === 'root' ? { User: '0' } : {}),
    ...(spec.workingDirectory === null ? {} : { WorkingDir: spec.workingDirectory }),
  };
}

class ContainerExec implements ExecSession {
  readonly pid: number;
  readonly exit: Promise<ExecExit>;
  readonly output: AsyncIterable<ExecOutput>;
  readonly #queue = new OutputQueue();
  readonly #target: ExecTarget;
  readonly #id: string;
  readonly #stream: Duplex;
  readonly #exit = Promise.withResolvers<ExecExit>();
  #timedOut = false;
  #truncated = false;
  #isOver = false;

  constructor(
    target: ExecTarget,
    started: Started,
    begun: { pid: number; output: AsyncIterator<ExecOutput> },
    spec: ExecSpec,
  ) {
    this.#target = target;
    this.#id = started.id;
    this.#stream = started.stream;
    this.pid = begun.pid;
    this.exit = this.#exit.promise;
    this.exit.catch(() => undefined); // told to whoever awaits it or reads `output`
    this.output = this.#queue;
    void this.#pump(begun.output, spec.outputLimitBytes);
    if (spec.timeoutMs > 0) {
      const callOff = target.clock.after(spec.timeoutMs, () => {
        this.#timedOut = true;
        this.#end();
      });
      this.exit.then(callOff, callOff);
    }
  }

  /** The signal goes through the container's own shell, which may not obey: then at least nobody listens any more. */
  #end(): void {
    this.sendSignal(9);
    const callOff = this.#target.clock.after(END_PATIENCE_MS, () => this.#stream.destroy());
    this.exit.then(callOff, callOff);
  }

  write(data: Uint8Array): Promise<void> {
    if (this.#isOver) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#stream.write(data, (error) => (error && !this.#isOver ? reject(error) : resolve()));
    });
  }

  closeInput(): void {
    this.#stream.end();
  }

  sendSignal(signal: number): void {
    if (this.#isOver || this.pid === 0) return;
    const command = `kill -${signal} -- -${this.pid} 2>/dev/null || kill -${signal} ${this.pid}`;
    const body = { AttachStdout: true, Cmd: ['/bin/sh', '-c', command], User: '0' };
    const timeout = timeoutSignal(this.#target.clock, QUICK_MS);
    startExec(this.#target, body, timeout.signal)
      .then(
        ({ stream }) => void stream.on('error', () => undefined).resume(), // its end is all there is to it
        () => undefined, // a container that has just ended takes no signal
      )
      .finally(() => timeout.done());
  }

  resize(columns: number, rows: number): void {
    const path = `/exec/${this.#id}/resize?h=${rows}&w=${columns}`;
    this.#target.api
      .json({ method: 'POST', path, signal: new AbortController().signal })
      .catch(() => undefined); // it has ended
  }

  close(): void {
    if (!this.#isOver) this.sendSignal(9);
    this.#stream.destroy();
  }

  /** Reads ahead of whoever reads `output`, up to a bound, so that the end is seen though nobody reads. */
  async #pump(source: AsyncIterator<ExecOutput>, limitBytes: number): Promise<void> {
    let bytes = 0;
    try {
      for (let next = await source.next(); !next.done; next = await source.next()) {
        const { stream, data } = next.value;
        const room = limitBytes === 0 ? data.length : Math.max(0, limitBytes - bytes);
        bytes += data.length;
        if (room < data.length) this.#truncate();
        if (room > 0) await this.#queue.push({ stream, data: data.subarray(0, room) });
      }
      const exit = await this.#ended();
      this.#isOver = true;
      this.#exit.resolve(exit);
      this.#queue.end();
    } catch (error) {
      this.#isOver = true;
      if (this.#timedOut || this.#truncated) {
        const flags = { timedOut: this.#timedOut, outputTruncated: this.#truncated };
        this.#exit.resolve({ exitCode: SIGNAL_BASE + 9, signal: 9, ...flags });
        this.#queue.end();
        return;
      }
      const failure =
        error instanceof ExtensionError && error.kind !== 'invalid'
          ? error
          : new ExtensionError('transient', 'The connection to the command broke, or its container ended.', {
              cause: error,
            });
      this.#exit.reject(failure);
      this.#queue.end(failure);
    }
  }

  #truncate(): void {
    if (this.#truncated) return;
    this.#truncated = true;
    this.#end();
  }

  async #ended(): Promise<ExecExit> {
    const timeout = timeoutSignal(this.#target.clock, QUICK_MS);
    const { ExitCode: code } = await this.#target.api
      .json<{ ExitCode: number | null }>({
        method: 'GET',
        path: `/exec/${this.#id}/json`,
        signal: timeout.signal,
      })
      .finally(() => timeout.done());
    const exitCode = code ?? 0;
    return {
      exitCode,
      signal: exitCode > SIGNAL_BASE && exitCode < SIGNAL_BASE + 65 ? exitCode - SIGNAL_BASE : null,
      timedOut: this.#timedOut,
      outputTruncated: this.#truncated,
    };
  }
}

function notStarted(words: Buffer): ExtensionError {
  const said = lastWords(words.toString('utf8')) || 'the container has no shell';
  return new ExtensionError('invalid', `The command could not be started: ${said}.`);
}

/** Takes the process id off the front of the output. What the command complains of may come before it. */
async function begin(
  frames: AsyncIterator<ExecOutput>,
): Promise<{ pid: number; output: AsyncIterator<ExecOutput> }> {
  let head = Buffer.alloc(0);
  const complaints: ExecOutput[] = [];
  let bytes = 0;
  for (;;) {
    const next = await frames.next();
    const words = () => Buffer.concat([head, ...complaints.map(({ data }) => data)]);
    if (next.done || bytes > HEAD_BYTES_MAX) throw notStarted(words());
    bytes += next.value.data.length;
    if (next.value.stream === 'stderr') {
      complaints.push(next.value);
      continue;
    }
    head = Buffer.concat([head, next.value.data]);
    const end = head.indexOf(0x0a);
    if (end === -1 && head.length < PROCESS_ID_BYTES_MAX) continue;
    const pid = Number(head.subarray(0, Math.max(0, end)).toString('utf8').trim());
    if (!Number.isInteger(pid) || pid <= 0) throw notStarted(words());
    const rest = head.subarray(end + 1);
    const output = (async function* () {
      yield* complaints;
      if (rest.length > 0) yield { stream: 'stdout' as const, data: new Uint8Array(rest) };
      yield* { [Symbol.asyncIterator]: () => frames };
    })();
    return { pid, output };
  }
}

export async function execInContainer(
  target: ExecTarget,
  spec: ExecSpec,
  signal: AbortSignal,
): Promise<ExecSession> {
  const started = await startExec(target, execBody(spec), signal);
  if (!spec.stdin && spec.terminal === null) started.stream.end();
  const frames = splitFrames(started.stream, spec.terminal !== null);
  const giveUp = () => started.stream.destroy();
  const callOff = target.clock.after(QUICK_MS, giveUp);
  signal.addEventListener('abort', giveUp, { once: true });
  const begun = await begin(frames[Symbol.asyncIterator]())
    .catch((error: unknown) => {
      giveUp();
      if (error instanceof ExtensionError) throw error;
      throw new ExtensionError('transient', 'The container did not begin the command.', { cause: error });
    })
    .finally(callOff);
  signal.removeEventListener('abort', giveUp);
  const session = new ContainerExec(target, started, begun, spec);
  signal.addEventListener('abort', () => session.close(), { once: true });
  if (spec.terminal !== null) session.resize(spec.terminal.columns, spec.terminal.rows);
  return session;
}
