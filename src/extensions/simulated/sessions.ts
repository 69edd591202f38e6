/** How to get into a simulated sandbox: a fake shell over files and a log that live in the backend's truth. */
import { posix } from 'node:path';
import type { Clock } from '../../ports/clock.ts';
import {
  type ExecSession,
  type ExecSpec,
  ExtensionError,
  type Reference,
  type Sessions,
} from '../../ports/extension.ts';
import { HOME_DIRECTORY } from './backend/inside.ts';
import type { SimulatedClient } from './client.ts';
import { type Machine, runCommand } from './shell/commands.ts';
import { startExec } from './shell/exec-session.ts';
import {
  DoneSchema,
  FileDataSchema,
  FileListSchema,
  FileStatSchema,
  StartedSchema,
  WrittenSchema,
} from './wire.ts';

const LEASE_MS = 1_000;
const FILE_BYTES_MAX = 16 * 1024 * 1024;
const FILE_MODE_BITS = 0o644;
const READ_PIECE_BYTES = 64 * 1024;
const DETACHED_OUTPUT_BYTES_MAX = 1024 * 1024;
const NEVER = new AbortController().signal;

export function createSessions(client: SimulatedClient, clock: Clock): Sessions {
  const readFile = async (reference: Reference, path: string, signal: AbortSignal) => {
    const answer = await client.request('files', reference, { action: 'read', path }, FileDataSchema, signal);
    return Buffer.from(answer.dataBase64, 'base64');
  };
  return {
    exec: (reference, spec, signal) => exec(client, clock, reference, spec, signal),
    readFile: async (reference, path, signal) => pieces(await readFile(reference, path, signal)),
    async writeFile(reference, path, source, options, signal) {
      const dataBase64 = (await collect(source, signal)).toString('base64');
      const body = { action: 'write', path, dataBase64, ...options };
      return (await client.request('files', reference, body, WrittenSchema, signal)).sizeBytes;
    },
    async listDirectory(reference, path, signal) {
      const body = { action: 'list', path };
      return (await client.request('files', reference, body, FileListSchema, signal)).entries;
    },
    async stat(reference, path, signal) {
      const body = { action: 'stat', path };
      return (await client.request('files', reference, body, FileStatSchema, signal)).entry;
    },
    async openPort() {
      throw new ExtensionError('unsupported', 'a simulated sandbox has no ports');
    },
    async logs(reference, signal) {
      const answer = await client.request('logs', reference, { action: 'read' }, FileDataSchema, signal);
      return pieces(Buffer.from(answer.dataBase64, 'base64'));
    },
  };
}

async function exec(
  client: SimulatedClient,
  clock: Clock,
  reference: Reference,
  spec: ExecSpec,
  signal: AbortSignal,
): Promise<ExecSession> {
  if (spec.command.length === 0) throw new ExtensionError('invalid', 'the command is empty');
  const body = { command: spec.command, busyForMs: LEASE_MS };
  const started = await client.request('exec', reference, body, StartedSchema, signal);
  const renew = (busyForMs: number) =>
    client.request('renew', reference, { pid: started.pid, busyForMs }, DoneSchema, NEVER);
  const machine = machineOf(client, reference, spec);
  if (spec.detach) return detach(client, reference, spec, machine, started.pid, renew);
  return startExec({
    pid: started.pid,
    spec,
    outputFault: started.output,
    clock,
    machine,
    stillThere: () =>
      renew(LEASE_MS).then(
        () => true,
        (error: unknown) => !(error instanceof ExtensionError && error.kind === 'conflict'),
      ),
    ended: () =>
      renew(0).then(
        () => undefined,
        () => undefined, // the lease runs out by itself
      ),
  });
}

function machineOf(client: SimulatedClient, reference: Reference, spec: ExecSpec) {
  const own = { HOME: HOME_DIRECTORY, PATH: '/usr/bin:/bin', USER: spec.user };
  return {
    environment: new Map(Object.entries({ ...own, ...spec.environment })),
    workingDirectory: posix.resolve(HOME_DIRECTORY, spec.workingDirectory ?? '.'),
    async readFile(path: string) {
      const body = { action: 'read', path };
      return client.request('files', reference, body, FileDataSchema, NEVER).then(
        (answer) => Buffer.from(answer.dataBase64, 'base64'),
        () => null, // the command says that it could not read
      );
    },
    async writeFile(path: string, data: Uint8Array) {
      const dataBase64 = Buffer.from(data).toString('base64');
      const body = { action: 'write', path, dataBase64, modeBits: FILE_MODE_BITS };
      return client.request('files', reference, body, WrittenSchema, NEVER).then(
        () => true,
        () => false, // the command says that it could not write
      );
    },
  };
}

/** A detached command is worked out at once; its sleeps become the time that it keeps the sandbox busy. */
async function detach(
  client: SimulatedClient,
  reference: Reference,
  spec: ExecSpec,
  machine: Pick<Machine, 'environment' | 'workingDirectory' | 'readFile' | 'writeFile'>,
  pid: number,
  renew: (busyForMs: number) => Promise<unknown>,
): Promise<ExecSession> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  let busyForMs = 0;
  await runCommand(spec.command, {
    ...machine,
    async write(_stream, data) {
      if (sizeBytes < DETACHED_OUTPUT_BYTES_MAX) chunks.push(Buffer.from(data));
      sizeBytes += data.length;
    },
    readInput: () => pieces(Buffer.alloc(0)),
    async sleep(durationMs) {
      busyForMs += durationMs;
    },
  });
  const dataBase64 = Buffer.concat(chunks).toString('base64');
  await client.request('logs', reference, { action: 'append', dataBase64 }, DoneSchema, NEVER);
  await renew(busyForMs);
  return {
    pid,
    output: pieces(Buffer.alloc(0)) as AsyncIterable<never>,
    exit: Promise.resolve({ exitCode: 0, signal: null, timedOut: false, outputTruncated: false }),
    async write() {
      throw new ExtensionError('conflict', 'a detached command has no input');
    },
    closeInput: () => undefined,
    sendSignal: () => undefined,
    resize: () => undefined,
    close: () => undefined,
  };
}

async function* pieces(data: Buffer): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < data.length; start += READ_PIECE_BYTES) {
    yield new Uint8Array(data.subarray(start, start + READ_PIECE_BYTES));
  }
}

async function collect(source: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of source) {
    if (signal.aborted) throw new ExtensionError('transient', 'writing the file was given up');
    sizeBytes += chunk.length;
    if (sizeBytes > FILE_BYTES_MAX)
      throw new ExtensionError('invalid', 'the file is too large for a simulated sandbox');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
