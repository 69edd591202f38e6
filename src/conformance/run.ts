/** Running one command and collecting what it said. */
import type { ExecExit, ExecSession, ExecSpec, Reference } from '../ports/extension.ts';
import { type Bench, ensure, NO_ABORT } from './bench.ts';

export interface Ran {
  readonly exit: ExecExit;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

const BASE: Omit<ExecSpec, 'command'> = {
  environment: {},
  workingDirectory: null,
  user: 'user',
  terminal: null,
  stdin: false,
  timeoutMs: 20_000,
  outputLimitBytes: 4 * 1024 * 1024,
  detach: false,
};

export const shell = (script: string): readonly string[] => ['sh', '-c', script];

export function start(
  bench: Bench,
  reference: Reference,
  command: readonly string[],
  overrides: Partial<ExecSpec> = {},
  extension = bench.extension,
): Promise<ExecSession> {
  return bench.within(
    extension.sessions!.exec(reference, { ...BASE, command, ...overrides }, NO_ABORT),
    'exec',
  );
}

export async function collect(bench: Bench, session: ExecSession): Promise<Ran> {
  const parts = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  const read = async () => {
    for await (const { stream, data } of session.output) parts[stream].push(data.slice());
  };
  const [exit] = await bench.within(Promise.all([session.exit, read()]), 'the end of a command');
  return { exit, stdout: Buffer.concat(parts.stdout), stderr: Buffer.concat(parts.stderr) };
}

export async function run(
  bench: Bench,
  reference: Reference,
  command: readonly string[],
  overrides: Partial<ExecSpec> = {},
  extension = bench.extension,
): Promise<Ran> {
  return collect(bench, await start(bench, reference, command, overrides, extension));
}

export function ensureText(actual: Buffer, expected: string, what: string): void {
  ensure(
    actual.toString() === expected,
    `${what} is ${JSON.stringify(actual.toString().slice(0, 200))}, not ${JSON.stringify(expected)}`,
  );
}
