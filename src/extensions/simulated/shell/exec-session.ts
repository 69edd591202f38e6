/** One running command of the simulated shell, as the contract's session. */
import type { Clock } from '../../../ports/clock.ts';
import {
  type ExecExit,
  type ExecOutput,
  type ExecSession,
  type ExecSpec,
  ExtensionError,
} from '../../../ports/extension.ts';
import { type Machine, runCommand } from './commands.ts';
import { ByteQueue } from './queue.ts';

export type OutputFault = 'whole' | 'lost' | 'doubled' | 'split';

export interface ExecOptions {
  readonly pid: number;
  readonly spec: ExecSpec;
  readonly outputFault: OutputFault;
  readonly clock: Clock;
  readonly machine: Pick<Machine, 'environment' | 'workingDirectory' | 'readFile' | 'writeFile'>;
  /** Says that the command still runs; false when its sandbox was taken away. */
  stillThere(): Promise<boolean>;
  /** Says that it ended. */
  ended(): Promise<void>;
}

const SIGNAL_KILL = 9;
const TERMINATING_SIGNALS = new Set([1, 2, 3, 6, 9, 13, 14, 15]);
const WATCH_MS = 250;

interface End {
  readonly exitCode: number;
  readonly signal: number | null;
  readonly timedOut: boolean;
}

export function startExec(options: ExecOptions): ExecSession {
  const { spec, clock } = options;
  const input = new ByteQueue<Uint8Array>();
  const output = new ByteQueue<ExecOutput>();
  const stopped = new AbortController();
  const kill = Promise.withResolvers<End>();
  const sink = createSink(spec, options.outputFault, output);
  if (!spec.stdin) input.end();
  const machine: Machine = {
    ...options.machine,
    write: sink.write,
    readInput: () => input.read(),
    sleep: (durationMs) => clock.sleep(durationMs, stopped.signal),
  };
  const end = (signal: number, timedOut: boolean) =>
    kill.resolve({ exitCode: 128 + signal, signal, timedOut });
  const command = runCommand(spec.command, machine).then(
    (exitCode): End => ({ exitCode, signal: null, timedOut: false }),
    (): End => ({ exitCode: 128 + SIGNAL_KILL, signal: SIGNAL_KILL, timedOut: false }), // torn down under it
  );
  watch(options, stopped.signal, end);
  const exit = Promise.race([command, kill.promise]).then(async (how): Promise<ExecExit> => {
    stopped.abort();
    input.end();
    output.end();
    await options.ended();
    return { ...how, outputTruncated: sink.truncated() };
  });
  return {
    pid: options.pid,
    output: output.read(),
    exit,
    async write(data) {
      if (await input.push(data.slice())) return;
      throw new ExtensionError('conflict', 'the command does not read its input any more');
    },
    closeInput: () => input.end(),
    sendSignal(signal) {
      if (TERMINATING_SIGNALS.has(signal)) end(signal, false);
    },
    resize: () => undefined,
    close: () => end(SIGNAL_KILL, false),
  };
}

/** Ends the command when its time is over or its sandbox was taken away, by whomever. */
function watch(
  options: ExecOptions,
  stopped: AbortSignal,
  end: (signal: number, timedOut: boolean) => void,
): void {
  const { clock, spec } = options;
  const ignoreStop = () => undefined; // a sleep that ends early means that the command ended
  if (spec.timeoutMs > 0) clock.sleep(spec.timeoutMs, stopped).then(() => end(SIGNAL_KILL, true), ignoreStop);
  const look = async () => {
    while (!stopped.aborted) {
      await clock.sleep(WATCH_MS, stopped);
      if (!(await options.stillThere())) end(SIGNAL_KILL, false);
    }
  };
  look().catch(ignoreStop);
}

function createSink(spec: ExecSpec, fault: OutputFault, output: ByteQueue<ExecOutput>) {
  let restBytes = spec.outputLimitBytes > 0 ? spec.outputLimitBytes : Number.POSITIVE_INFINITY;
  let truncated = false;
  return {
    truncated: () => truncated,
    async write(from: 'stdout' | 'stderr', bytes: Uint8Array): Promise<void> {
      const stream = spec.terminal === null ? from : 'stdout';
      for (const whole of damage(bytes, fault)) {
        const data = whole.subarray(0, Math.min(whole.length, restBytes));
        if (data.length < whole.length) truncated = true;
        restBytes -= data.length;
        if (data.length > 0) await output.push({ stream, data });
      }
    },
  };
}

function damage(bytes: Uint8Array, fault: OutputFault): Uint8Array[] {
  if (fault === 'lost') return [];
  if (fault === 'doubled') return [bytes, bytes];
  return fault === 'split' ? Array.from(bytes, (byte) => Uint8Array.of(byte)) : [bytes];
}
