/** Extensions whose commands or files are broken. */
import type { ExecSpec, Sessions } from '../../src/ports/extension.ts';
import { type BrokenExtension, broken } from './broken.ts';

function brokenSessions(
  defect: string,
  caughtBy: string,
  change: (good: Sessions) => Partial<Sessions>,
): BrokenExtension {
  return broken(defect, caughtBy, ({ sessions }) => ({ sessions: { ...sessions!, ...change(sessions!) } }));
}

function brokenExec(
  defect: string,
  caughtBy: string,
  change: (spec: ExecSpec) => Partial<ExecSpec>,
): BrokenExtension {
  return brokenSessions(defect, caughtBy, ({ exec }) => ({
    exec: (reference, spec, signal) => exec(reference, { ...spec, ...change(spec) }, signal),
  }));
}

export const BROKEN_INSIDE: readonly BrokenExtension[] = [
  brokenExec('a shell reads the arguments', 'exec.arguments', ({ command }) => ({
    command: ['sh', '-c', command.join(' ')],
  })),
  brokenExec('the environment is lost', 'exec.environment', () => ({ environment: {} })),
  brokenExec('the working directory is ignored', 'exec.working-directory', () => ({
    workingDirectory: null,
  })),
  brokenExec('the time limit is ignored', 'exec.timeout', () => ({ timeoutMs: 0 })),
  brokenExec('the output limit is ignored', 'exec.output-limit', () => ({ outputLimitBytes: 0 })),
  brokenExec('the input is lost', 'exec.input', () => ({ stdin: false })),
  brokenExec('a detached command ends with its session', 'exec.detached', () => ({ detach: false })),
  brokenSessions('the streams are mixed', 'exec.streams-apart', ({ exec }) => ({
    async exec(reference, spec, signal) {
      const session = await exec(reference, spec, signal);
      return { ...session, output: relabel(session.output) };
    },
  })),
  brokenSessions('the exit code is swallowed', 'exec.exit-code', ({ exec }) => ({
    async exec(reference, spec, signal) {
      const session = await exec(reference, spec, signal);
      return { ...session, exit: session.exit.then((exit) => ({ ...exit, exitCode: 0 })) };
    },
  })),
  brokenSessions('close leaves the command running', 'exec.close-ends-it', ({ exec }) => ({
    exec: async (reference, spec, signal) => ({
      ...(await exec(reference, spec, signal)),
      close: () => undefined,
    }),
  })),
  brokenSessions('exec hangs when the thing is gone', 'exec.after-destroy', ({ exec }) => ({
    exec: (reference, spec, signal) =>
      exec(reference, spec, signal).catch(() => new Promise(() => undefined)),
  })),
  brokenSessions('exec throws a plain Error when the thing is gone', 'exec.after-destroy', ({ exec }) => ({
    exec: (reference, spec, signal) =>
      exec(reference, spec, signal).catch(() => {
        throw new Error('gone');
      }),
  })),
  brokenSessions('files are cut', 'files.round-trip', ({ writeFile }) => ({
    writeFile: (reference, path, source, options, signal) =>
      writeFile(reference, path, firstPiece(source), options, signal),
  })),
  brokenSessions('files pass through text', 'files.round-trip', ({ readFile }) => ({
    async readFile(reference, path, signal) {
      return asText(await readFile(reference, path, signal));
    },
  })),
  brokenSessions('a missing file reads as empty', 'files.missing', ({ readFile }) => ({
    readFile: (reference, path, signal) => readFile(reference, path, signal).catch(() => nothing()),
  })),
  brokenSessions('parents are always made', 'files.parents', ({ writeFile }) => ({
    writeFile: (reference, path, source, options, signal) =>
      writeFile(reference, path, source, { ...options, makeParents: true }, signal),
  })),
];

async function* relabel(output: AsyncIterable<{ stream: 'stdout' | 'stderr'; data: Uint8Array }>) {
  for await (const { data } of output) yield { stream: 'stdout' as const, data };
}

async function* firstPiece(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const piece of source) {
    yield piece;
    return;
  }
}

async function* asText(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const piece of source) yield Buffer.from(Buffer.from(piece).toString('utf8'));
}

async function* nothing(): AsyncGenerator<Uint8Array> {
  yield new Uint8Array();
}
