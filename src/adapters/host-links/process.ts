/** What both kinds of link share: child processes in groups of their own, and running one to its end. */
import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { PassThrough, type Readable } from 'node:stream';
import { printable } from '../../domain/text.ts';
import { type Clock, timeoutSignal } from '../../ports/clock.ts';
import { ExtensionError } from '../../ports/extension.ts';
import type { CommandResult, HostCommand, HostProcess, RunCommand } from '../../ports/host-link.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

const OUTPUT_BYTES_MAX = 4 * 1024 * 1024;
/** Between asking a process to end and ending it. */
export const END_PATIENCE_MS = 1_000;

/** The code that a shell would show: 128 + n for signal n. */
function shellCode(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + (signal === null ? 0 : constants.signals[signal]);
}

export interface Ended {
  readonly code: number;
  /** Null unless a signal ended it. */
  readonly signal: NodeJS.Signals | null;
}

export interface Spawned {
  readonly child: ChildProcessWithoutNullStreams;
  readonly ended: Promise<Ended>;
}

interface SpawnOptions {
  readonly environment: Environment;
}

function spawnError(program: string, error: unknown): ExtensionError {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  if (code === 'E2BIG') return new ExtensionError('invalid', 'The command is too long.', { cause: error });
  if (code === 'ENOENT')
    return new ExtensionError('unsupported', `The program ${program} is not installed here.`, {
      cause: error,
    });
  return new ExtensionError('transient', `${program} could not be started.`, { cause: error });
}

/** Starts a program of this machine with three pipes, as the leader of its own group, deaf to the terminal's keys. */
export function spawnPiped(program: string, words: readonly string[], options: SpawnOptions): Spawned {
  let child: ChildProcessWithoutNullStreams;
  try {
    child = spawn(program, words, {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
      env: { ...options.environment },
    });
  } catch (error) {
    throw spawnError(program, error);
  }
  const ended = Promise.withResolvers<Ended>();
  // A program that stopped reading is no failure of ours; its exit code tells.
  child.stdin.on('error', () => undefined);
  child.on('error', (error) => ended.reject(spawnError(program, error)));
  child.on('exit', (code, signal) => ended.resolve({ code: shellCode(code, signal), signal }));
  ended.promise.catch(() => undefined);
  return { child, ended: ended.promise };
}

/** What a child says, kept until somebody reads: Node throws away what nobody has begun to read when a child ends. */
export function keptOutput(output: Readable): Readable {
  return output.pipe(new PassThrough());
}

/** `spawnPiped` without pipes: what it says on stderr goes to an open file, which its own children may keep open. */
export function spawnLogged(
  program: string,
  words: readonly string[],
  options: SpawnOptions & { readonly logDescriptor: number },
): { readonly child: ChildProcess; readonly ended: Promise<Ended> } {
  const child = spawn(program, words, {
    stdio: ['ignore', 'ignore', options.logDescriptor],
    detached: true,
    env: { ...options.environment },
  });
  const ended = Promise.withResolvers<Ended>();
  child.on('error', (error) => ended.reject(spawnError(program, error)));
  child.on('exit', (code, signal) => ended.resolve({ code: shellCode(code, signal), signal }));
  return { child, ended: ended.promise };
}

/** Sends a signal to a child's whole group; one that is gone is fine. */
export function signalGroup(pid: number | undefined, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** Calls `end` when the signal aborts; the answer stops listening. */
export function onAbort(signal: AbortSignal | undefined, end: () => void): () => void {
  if (signal === undefined) return () => undefined;
  if (signal.aborted) end();
  else signal.addEventListener('abort', end, { once: true });
  return () => signal.removeEventListener('abort', end);
}

export function calledOff(cause: unknown): ExtensionError {
  return new ExtensionError('transient', 'The work on the host was called off.', { cause });
}

/** `promise`, or the refusal when the signal aborts first. What was begun goes on. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  const aborted = Promise.withResolvers<never>();
  const stop = onAbort(signal, () => aborted.reject(calledOff(signal.reason)));
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    stop();
  }
}

/** Everything a stream holds; `overflow` is called once when it is more than `bytesMax`. */
export function collect(stream: Readable, bytesMax: number, overflow: () => void): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const done = Promise.withResolvers<Buffer>();
  stream.on('data', (chunk: Buffer) => {
    const before = bytes;
    bytes += chunk.length;
    if (bytes <= bytesMax) chunks.push(chunk);
    else if (before <= bytesMax) overflow();
  });
  stream.once('close', () => done.resolve(Buffer.concat(chunks)));
  stream.once('error', () => done.resolve(Buffer.concat(chunks)));
  return done.promise;
}

/** `HostLink.run` by way of `HostLink.start`. */
export async function runToEnd(
  start: (command: HostCommand) => Promise<HostProcess>,
  clock: Clock,
  command: RunCommand,
): Promise<CommandResult> {
  const timeout = timeoutSignal(clock, command.timeoutMs, command.signal);
  const program = printable(command.command[0] ?? '', 100);
  const bytesMax = command.outputLimitBytes ?? OUTPUT_BYTES_MAX;
  let hasOverflown = false;
  try {
    const running = await start({ ...command, signal: timeout.signal });
    const overflow = () => {
      hasOverflown = true;
      running.kill();
    };
    const output = [running.stdout, running.stderr].map((stream) => collect(stream, bytesMax, overflow));
    running.stdin.end(command.input ?? '');
    const exitCode = await running.exit;
    const [stdout, stderr] = await unlessAborted(Promise.all(output), timeout.signal);
    if (hasOverflown)
      throw new ExtensionError('bug', `${program} on the host said more than ${bytesMax} bytes.`);
    return { exitCode, stdout: stdout!.toString('utf8'), stderr: stderr!.toString('utf8') };
  } catch (error) {
    if (!timeout.signal.aborted || command.signal?.aborted) throw error;
    throw new ExtensionError(
      'transient',
      `${program} on the host took longer than ${command.timeoutMs} ms.`,
      {
        cause: error,
      },
    );
  } finally {
    timeout.done();
  }
}
