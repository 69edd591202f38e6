/** What each command does. Everything heavy is loaded here, by the command that needs it. */

import type { Invocation } from './program.ts';
import type { CommandSpec } from './spec.ts';
import type { Terminal } from './terminal.ts';

type Run = (invocation: Invocation, terminal: Terminal) => Promise<number>;

/** Commands that do more than ask once and print; by operation. */
const SPECIAL: Readonly<Record<string, Run>> = {
  create: async ({ values }, terminal) => (await import('./create.ts')).runCreate(values, terminal),
  exec: async ({ values }, terminal) => (await import('./exec.ts')).runExec(values, terminal),
  shell: async ({ values }, terminal) => (await import('./exec.ts')).runShell(values, terminal),
  cp: async ({ values }, terminal) => (await import('./copy.ts')).runCopy(values, terminal),
  open_port: async ({ values }, terminal) => (await import('./port.ts')).runPort(values, terminal),
  logs: async ({ values }, terminal) => (await import('./logs.ts')).runLogs(values, terminal),
  events: async ({ values }, terminal) => (await import('./events.ts')).runEvents(values, terminal),
  serve: async ({ values }, terminal) => (await import('./serve.ts')).runServe(values, terminal),
  version: async (_invocation, terminal) => (await import('./version.ts')).runVersion(terminal),
  completion: async ({ values }) => (await import('./completion.ts')).printCompletionScript(values),
};

const runCallCommand: Run = async ({ spec, values }, terminal) =>
  (await import('./call.ts')).runCall(spec, values, terminal);

function handlerOf(spec: CommandSpec): Run {
  return SPECIAL[spec.operation] ?? runCallCommand;
}

export function runCommand(invocation: Invocation, terminal: Terminal): Promise<number> {
  return handlerOf(invocation.spec)(invocation, terminal);
}
