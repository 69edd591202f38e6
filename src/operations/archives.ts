/** Directories in and out as tar streams, made and unpacked by the sandbox's own `tar` as its own user. */
import { z } from 'zod';
import { SandboxerError } from '../domain/errors.ts';
import { LIMITS } from '../domain/limits.ts';
import { begun } from '../domain/streams.ts';
import { printable } from '../domain/text.ts';
import type { ExecSession } from '../ports/extension.ts';
import { download, type OperationContext, upload } from './operation.ts';
import { sandboxIdField } from './sandboxes.ts';
import { execInput, execute } from './sessions.ts';

const archiveInput = z.strictObject({
  id: sandboxIdField,
  path: z.string().min(1).max(4_096).describe('A directory or file inside'),
});

const NOTHING_THERE = 66;
/** Asked first, because `tar` begins an archive of what it cannot find, too. */
const PACK = `[ -e "$1/$2" ] || [ -L "$1/$2" ] || exit ${NOTHING_THERE}; exec tar -C "$1" -cf - -- "$2"`;

function splitPath(path: string): { directory: string; name: string } {
  if (/^\/+$/.test(path)) return { directory: '/', name: '.' };
  const trimmed = path.replace(/\/+$/, '');
  const slash = trimmed.lastIndexOf('/');
  if (slash === -1) return { directory: '.', name: trimmed === '' ? '.' : trimmed };
  return { directory: trimmed.slice(0, slash) || '/', name: trimmed.slice(slash + 1) || '.' };
}

function start(
  context: OperationContext,
  id: string,
  command: readonly string[],
  stdin: boolean,
): Promise<ExecSession> {
  return execute.run(context, execInput.parse({ id, command: [...command], stdin }));
}

async function finish(session: ExecSession, complaints: readonly Uint8Array[], id: string): Promise<void> {
  const { exitCode } = await session.exit;
  if (exitCode === 0) return;
  if (exitCode === NOTHING_THERE) {
    throw new SandboxerError('invalid_input', 'There is nothing at that path in the sandbox.', {
      sandboxId: id,
      nextStep: `Look with: sandboxer exec ${id} -- ls -la`,
    });
  }
  const said = printable(Buffer.concat(complaints).toString('utf8').trim());
  throw new SandboxerError('invalid_input', `tar inside the sandbox ended with ${exitCode}: ${said}`, {
    sandboxId: id,
    nextStep: exitCode === 127 ? 'Use an image that has tar.' : 'Check the path.',
  });
}

/** Answers how much was sent. A tar that has ended takes no more; its exit code and words say why. */
async function feed(session: ExecSession, body: AsyncIterable<Uint8Array>): Promise<number> {
  let bytes = 0;
  for await (const chunk of body) {
    try {
      await session.write(chunk);
    } catch (error) {
      const { exitCode } = await session.exit;
      if (exitCode === 0) throw error;
      return bytes;
    }
    bytes += chunk.length;
  }
  session.closeInput();
  return bytes;
}

async function* standardOutput(session: ExecSession, id: string): AsyncIterable<Uint8Array> {
  const complaints: Uint8Array[] = [];
  try {
    for await (const { stream, data } of session.output) {
      if (stream === 'stdout') yield data;
      else if (complaints.length < LIMITS.labelCount) complaints.push(data);
    }
    await finish(session, complaints, id);
  } finally {
    session.close();
  }
}

export const readArchive = download({
  name: 'read_archive',
  summary: 'A file or directory inside, as a tar stream',
  input: archiveInput,
  mediaType: 'application/x-tar',
  scope: 'exec',
  effect: 'read',
  keyed: false,
  errors: ['not_found', 'state_conflict', 'invalid_input', 'sandbox_unreachable'],
  examples: ['sandboxer cp <id>:/workspace ./copy'],
  http: { method: 'GET', path: '/v1/sandboxes/{id}/archive' },
  cli: 'cp does this',
  async run(context, input) {
    const { directory, name } = splitPath(input.path);
    const session = await start(context, input.id, ['sh', '-c', PACK, 'sh', directory, name], false);
    return begun(standardOutput(session, input.id));
  },
});

export const writeArchive = upload({
  name: 'write_archive',
  summary: 'Unpack a tar stream into a directory inside',
  input: archiveInput,
  output: z.object({ path: z.string(), bytes: z.number().int() }),
  scope: 'exec',
  effect: 'write',
  keyed: false,
  errors: ['not_found', 'state_conflict', 'invalid_input', 'sandbox_unreachable'],
  examples: ['sandboxer cp ./my-project <id>:/workspace'],
  http: { method: 'PUT', path: '/v1/sandboxes/{id}/archive' },
  cli: 'cp does this',
  async run(context, input, body) {
    const script = 'mkdir -p -- "$1" && exec tar -C "$1" -xf - --no-same-owner';
    const session = await start(context, input.id, ['sh', '-c', script, 'sh', input.path], true);
    const complaints: Uint8Array[] = [];
    const listening = (async () => {
      for await (const { data } of session.output) {
        if (complaints.length < LIMITS.labelCount) complaints.push(data);
      }
    })();
    let bytes: number;
    try {
      bytes = await feed(session, body);
      await listening;
      await finish(session, complaints, input.id);
    } finally {
      session.close();
    }
    return { path: input.path, bytes };
  },
});
