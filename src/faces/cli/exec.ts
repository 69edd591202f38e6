import { collectExec } from '../http/exec-answer.ts';
import type { ExecInput } from '../library/transport.ts';
import { usageError } from './failure.ts';
import { pump } from './pump.ts';
import { withOpened } from './sessions.ts';
import type { Values } from './spec.ts';
import type { Terminal } from './terminal.ts';

const TERMINAL_COLUMNS = 80;
const TERMINAL_ROWS = 24;
const TIMED_OUT_EXIT = 124;

/** A login shell where there is one; every sandbox has `sh`. */
const SHELL = ['sh', '-c', 'if command -v bash >/dev/null 2>&1; then exec bash -l; else exec sh -l; fi'];

function terminalSize(): { columns: number; rows: number } {
  return { columns: process.stdout.columns || TERMINAL_COLUMNS, rows: process.stdout.rows || TERMINAL_ROWS };
}

function withTerminal(input: ExecInput): ExecInput {
  const { TERM } = process.env;
  const environment = { ...(TERM === undefined ? {} : { TERM }), ...input.environment };
  return { ...input, environment, terminal: terminalSize(), stdin: true };
}

async function runDetached(input: ExecInput, terminal: Terminal): Promise<number> {
  const { pid } = await withOpened(
    (transport) => transport.exec({ ...input, detach: true, stdin: false }),
    async (session) => session,
  );
  if (terminal.json) await terminal.outJson({ sandbox_id: input.id, pid, detached: true });
  else await terminal.out(`Runs as process ${pid}. What it writes: sandboxer logs ${input.id}\n`);
  return 0;
}

async function runCollected(input: ExecInput, terminal: Terminal): Promise<number> {
  const result = await withOpened(
    (transport) => transport.exec({ ...input, stdin: false }),
    (session) => collectExec(session, null, false),
  );
  await terminal.outJson(result);
  return result.timed_out ? TIMED_OUT_EXIT : (result.exit_code ?? 0);
}

async function runAttached(input: ExecInput, terminal: Terminal, raw: boolean): Promise<number> {
  return withOpened(
    (transport) => transport.exec(input),
    async (session) => {
      const exit = await pump(session, terminal, { id: input.id, input: input.stdin === true, raw });
      if (exit.outputTruncated) terminal.say('The output was cut at the limit.');
      if (!exit.timedOut) return exit.exitCode;
      terminal.complain(`The command was ended after its ${input.timeout_ms} ms.`);
      return TIMED_OUT_EXIT;
    },
  );
}

/** The command's output, raw; its exit code is ours. With `--json`, both in one document. */
export async function runExec(values: Values, terminal: Terminal): Promise<number> {
  const { tty, ...rest } = values;
  const input = rest as ExecInput;
  if (input.detach === true) {
    if (tty === true) throw usageError('A detached command has no terminal.', 'Leave --tty or --detach out.');
    return runDetached(input, terminal);
  }
  if (tty === true) return runAttached(withTerminal(input), terminal, true);
  if (terminal.flags.json) return runCollected(input, terminal);
  return runAttached({ ...input, stdin: process.stdin.isTTY !== true }, terminal, false);
}

export async function runShell(values: Values, terminal: Terminal): Promise<number> {
  const { id } = values as { id: string };
  if (process.stdin.isTTY !== true) {
    throw usageError('shell needs a terminal.', `Without one: sandboxer exec ${id} -- sh -c "…"`);
  }
  const input = { ...values, command: SHELL } as unknown as ExecInput;
  return runAttached(withTerminal(input), terminal, true);
}
