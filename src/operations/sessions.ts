import { z } from 'zod';
import { SandboxerError } from '../domain/errors.ts';
import { LIMITS } from '../domain/limits.ts';
import type { EngineContext } from '../engine/context.ts';
import { backendError } from '../engine/react.ts';
import { referenceOf } from '../engine/step.ts';
import { type ExecSession, ExtensionError, type Reference, type Sessions } from '../ports/extension.ts';
import type { SandboxRecord } from '../ports/store.ts';
import { usableSandbox } from './access.ts';
import { markActive } from './activity.ts';
import { call, download, exec, type OperationContext, tunnel, upload } from './operation.ts';
import { sandboxIdField } from './sandboxes.ts';

const path = z
  .string()
  .min(1)
  .max(4_096)
  .refine((text) => !text.includes('\0'), 'holds a NUL byte');

interface Opened {
  readonly sessions: Sessions;
  readonly reference: Reference;
}

/** The error of a session call as the caller sees it. */
function sessionError(error: unknown, sandboxId: string): unknown {
  if (!(error instanceof ExtensionError)) return error;
  const unreachable = error.kind === 'transient' || error.kind === 'ambiguous';
  return unreachable ? backendError(error, sandboxId, 'sandbox_unreachable') : backendError(error, sandboxId);
}

/** The answer does not rest on it, so it does not wait for it; where it cannot be written the next use tries again. */
function noteUse(engine: EngineContext, record: SandboxRecord): void {
  markActive(engine, record, false).catch((error: unknown) => {
    engine.log.warn('the first use could not be recorded', { sandbox_id: record.id, cause: String(error) });
  });
}

/**
 * Does something inside. The first use makes the sandbox active; where it cannot be reached it is looked at, so
 * that one which died is known to be dead at once.
 */
async function inside<Result>(
  context: OperationContext,
  id: string,
  work: (opened: Opened) => Promise<Result>,
): Promise<Result> {
  const { engine, signal } = context;
  const record = await usableSandbox(context, id);
  const extension = await engine.context.extensions.load(record.extensionId);
  const { sessions } = extension;
  if (sessions === undefined) {
    throw new SandboxerError('unsupported', `${extension.id} has no way to run commands or move files.`);
  }
  try {
    const result = await work({ sessions, reference: referenceOf(record) });
    noteUse(engine.context, record);
    return result;
  } catch (error) {
    const mapped = sessionError(error, id);
    const lost = mapped instanceof SandboxerError && mapped.code === 'sandbox_unreachable';
    if (lost && !(await engine.reconciler.check(await usableSandbox(context, id), signal))) {
      throw new SandboxerError('sandbox_unreachable', `The sandbox ${id} ended by itself.`, {
        sandboxId: id,
        nextStep: `See what happened with: sandboxer events ${id}`,
        cause: error,
      });
    }
    throw mapped;
  }
}

async function* mappedStream<Item>(source: AsyncIterable<Item>, id: string): AsyncIterable<Item> {
  try {
    yield* source;
  } catch (error) {
    throw sessionError(error, id);
  }
}

/** The session with the errors that come after it opened as the caller sees them. */
function mappedSession(session: ExecSession, id: string): ExecSession {
  const exit = session.exit.catch((error: unknown) => {
    throw sessionError(error, id);
  });
  exit.catch(() => undefined); // told to whoever awaits `exit` or reads `output`
  return {
    pid: session.pid,
    output: mappedStream(session.output, id),
    exit,
    write: (data) =>
      session.write(data).catch((error: unknown) => {
        throw sessionError(error, id);
      }),
    closeInput: () => session.closeInput(),
    sendSignal: (signal) => session.sendSignal(signal),
    resize: (columns, rows) => session.resize(columns, rows),
    close: () => session.close(),
  };
}

export const execInput = z.strictObject({
  id: sandboxIdField,
  command: z.array(z.string()).min(1).max(LIMITS.execArgumentCount).describe('The command and its arguments'),
  environment: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.string())
    .default({})
    .describe('Variables, NAME=value'),
  working_directory: path.optional().describe('Where it runs; /workspace unless said'),
  user: z.enum(['user', 'root']).default('user').describe('Run as the ordinary user or as root inside'),
  terminal: z
    .strictObject({ columns: z.number().int().min(1).max(1_000), rows: z.number().int().min(1).max(1_000) })
    .optional()
    .describe('Give it a terminal of this size'),
  stdin: z.boolean().default(false).describe('Keep its standard input open for the session'),
  timeout_ms: z
    .number()
    .int()
    .min(0)
    .max(LIMITS.ttlMaxMs)
    .default(0)
    .describe('End it after this many milliseconds'),
  output_limit_bytes: z
    .number()
    .int()
    .min(0)
    .default(0)
    .describe('Stop passing output on after this many bytes'),
  detach: z.boolean().default(false).describe('Let it run on; its output goes to the log'),
});

export const execute = exec({
  name: 'exec',
  summary: 'Run a command inside, output streamed',
  input: execInput,
  scope: 'exec',
  effect: 'write',
  keyed: false,
  errors: ['not_found', 'state_conflict', 'unsupported', 'invalid_input', 'sandbox_unreachable'],
  examples: [
    'sandboxer exec <id> -- sh -c "id; ls /"',
    'echo hello | sandboxer exec <id> -- cat',
    'sandboxer exec <id> --detach -- sleep 60',
  ],
  http: { method: 'POST', path: '/v1/sandboxes/{id}/exec' },
  cli: {
    command: ['exec'],
    positional: ['id', 'command'],
    flags: {
      environment: '--env <name=value...>',
      working_directory: '--cwd <path>',
      user: '--user <user|root>',
      timeout_ms: '--timeout-ms <milliseconds>',
      detach: '--detach',
    },
  },
  async run(context, input): Promise<ExecSession> {
    const session = await inside(context, input.id, ({ sessions, reference }) =>
      sessions.exec(
        reference,
        {
          command: input.command,
          environment: input.environment,
          workingDirectory: input.working_directory ?? null,
          user: input.user,
          terminal: input.terminal ?? null,
          stdin: input.stdin,
          timeoutMs: input.timeout_ms,
          outputLimitBytes: input.output_limit_bytes,
          detach: input.detach,
        },
        context.signal,
      ),
    );
    return mappedSession(session, input.id);
  },
});

const fileInput = z.strictObject({ id: sandboxIdField, path: path.describe('A path inside') });
const WITH_CP = 'cp does this';

export const readFile = download({
  name: 'read_file',
  summary: 'The bytes of one file inside',
  input: fileInput,
  mediaType: 'application/octet-stream',
  scope: 'exec',
  effect: 'read',
  keyed: false,
  errors: ['not_found', 'state_conflict', 'invalid_input', 'sandbox_unreachable'],
  examples: ['sandboxer cp <id>:/workspace/result.txt ./result.txt'],
  http: { method: 'GET', path: '/v1/sandboxes/{id}/files' },
  cli: WITH_CP,
  run: (context, input) =>
    inside(context, input.id, ({ sessions, reference }) =>
      sessions.readFile(reference, input.path, context.signal),
    ),
});

export const writeFile = upload({
  name: 'write_file',
  summary: 'Write one file inside',
  input: z.strictObject({
    ...fileInput.shape,
    mode: z
      .string()
      .regex(/^[0-7]{3,4}$/)
      .default('644')
      .describe('Permission bits, octal'),
    parents: z.stringbool().or(z.boolean()).default(true).describe('Make missing directories'),
  }),
  output: z.object({ path: z.string(), bytes: z.number().int() }),
  scope: 'exec',
  effect: 'write',
  keyed: false,
  errors: ['not_found', 'state_conflict', 'invalid_input', 'sandbox_unreachable'],
  examples: ['sandboxer cp ./input.txt <id>:/workspace/input.txt'],
  http: { method: 'PUT', path: '/v1/sandboxes/{id}/files' },
  cli: WITH_CP,
  async run(context, input, body) {
    const options = { modeBits: Number.parseInt(input.mode, 8), makeParents: input.parents };
    const bytes = await inside(context, input.id, ({ sessions, reference }) =>
      sessions.writeFile(reference, input.path, body, options, context.signal),
    );
    return { path: input.path, bytes };
  },
});

const entrySchema = z.object({
  name: z.string(),
  type: z.enum(['file', 'directory', 'symlink', 'other']),
  size_bytes: z.number().int(),
  mode: z.string(),
  modified_at: z.string(),
});

export const listFiles = call({
  name: 'list_files',
  summary: 'The entries of a directory inside',
  input: fileInput,
  output: z.object({ path: z.string(), entries: z.array(entrySchema), truncated: z.boolean() }),
  scope: 'exec',
  effect: 'read',
  keyed: false,
  errors: ['not_found', 'state_conflict', 'invalid_input', 'sandbox_unreachable'],
  examples: ['sandboxer exec <id> -- ls -l /workspace'],
  http: { method: 'GET', path: '/v1/sandboxes/{id}/directory' },
  cli: 'exec with ls does this',
  async run(context, input) {
    const entries = await inside(context, input.id, ({ sessions, reference }) =>
      sessions.listDirectory(reference, input.path, context.signal),
    );
    return {
      path: input.path,
      truncated: entries.length > LIMITS.directoryEntries,
      entries: entries.slice(0, LIMITS.directoryEntries).map((entry) => ({
        name: entry.name,
        type: entry.type,
        size_bytes: entry.sizeBytes,
        mode: entry.modeBits.toString(8),
        modified_at: new Date(entry.modifiedAtMs).toISOString(),
      })),
    };
  },
});

export const logs = download({
  name: 'logs',
  summary: 'What detached commands wrote',
  input: z.strictObject({ id: sandboxIdField }),
  mediaType: 'text/plain; charset=utf-8',
  scope: 'exec',
  effect: 'read',
  keyed: false,
  errors: ['not_found', 'state_conflict', 'sandbox_unreachable'],
  examples: ['sandboxer logs <id>'],
  http: { method: 'GET', path: '/v1/sandboxes/{id}/logs' },
  cli: { command: ['logs'], positional: ['id'], flags: {} },
  run: (context, input) =>
    inside(context, input.id, ({ sessions, reference }) => sessions.logs(reference, context.signal)),
});

export const openPort = tunnel({
  name: 'open_port',
  summary: 'A byte stream to a TCP port inside',
  input: z.strictObject({
    id: sandboxIdField,
    port: z.coerce.number().int().min(1).max(65_535).describe('A port something inside listens on'),
  }),
  scope: 'exec',
  effect: 'write',
  keyed: false,
  errors: ['not_found', 'state_conflict', 'unsupported', 'sandbox_unreachable'],
  examples: ['sandboxer port <id> 8080'],
  http: { method: 'GET', path: '/v1/sandboxes/{id}/ports/{port}' },
  cli: { command: ['port'], positional: ['id', 'port'], flags: {} },
  run: (context, input) =>
    inside(context, input.id, ({ sessions, reference }) =>
      sessions.openPort(reference, input.port, context.signal),
    ),
});
