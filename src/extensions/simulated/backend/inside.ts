/** The calls about the inside of a running thing: commands, files, log. The commands themselves run at the caller. */
import { posix } from 'node:path';
import { z } from 'zod';
import type { WireReply } from '../wire.ts';
import type { Call } from './life.ts';
import { json, problem } from './replies.ts';
import { living, stateAt, type ThingRow } from './thing.ts';

export const HOME_DIRECTORY = '/workspace';
const DIRECTORIES = ['/', '/tmp', HOME_DIRECTORY];
const LOG_BYTES_MAX = 1024 * 1024;
const DIRECTORY_MODE_BITS = 0o755;

interface FileRow {
  readonly path: string;
  readonly type: 'file' | 'directory';
  readonly mode_bits: number;
  readonly data: Uint8Array;
  readonly modified_at_ms: number;
}

const ExecSchema = z.object({ command: z.array(z.string()).min(1), busyForMs: z.number().min(0) });
const FilesSchema = z.object({
  action: z.enum(['read', 'write', 'list', 'stat']),
  path: z.string().min(1).max(4_096),
  dataBase64: z.string().default(''),
  modeBits: z.int().min(0).default(0o644),
  makeParents: z.boolean().default(false),
});
const LogSchema = z.object({ action: z.enum(['read', 'append']), dataBase64: z.string().default('') });

function running(call: Call): ThingRow | WireReply {
  const row = living(call.truth, call.request.name ?? '', call.request.epoch, call.nowMs).at(-1);
  if (row === undefined) return problem(404, 'not_found', 'nothing there');
  const state = stateAt(row, call.nowMs);
  if (state === 'starting') return problem(503, 'starting', 'it does not run yet');
  if (state !== 'running') return problem(409, 'not_running', `it is ${state}`);
  return row;
}

function touch(call: Call, row: ThingRow): void {
  call.truth.run('UPDATE things SET used_at_ms = ? WHERE sequence = ?', call.nowMs, row.sequence);
}

export function exec(call: Call): WireReply {
  const row = running(call);
  if ('status' in row) return row;
  const body = ExecSchema.safeParse(call.request.body);
  if (!body.success) return problem(400, 'invalid', 'not a command');
  touch(call, row);
  const pid = call.truth.run(
    'INSERT INTO execs(sequence, command, busy_until_ms) VALUES(?, ?, ?)',
    row.sequence,
    JSON.stringify(body.data.command),
    call.nowMs + body.data.busyForMs,
  );
  const output =
    (['lost', 'doubled', 'split'] as const).find((way) => call.struck.has(`output_${way}`)) ?? 'whole';
  return json(201, { pid, output });
}

/** Keeps a command running in the truth for `busyForMs` more; 404 when its thing was taken away. */
export function renew(call: Call): WireReply {
  const row = running(call);
  if ('status' in row) return row;
  const { pid, busyForMs } = call.request.body;
  const known = call.truth.get(
    'SELECT pid FROM execs WHERE pid = ? AND sequence = ?',
    Number(pid),
    row.sequence,
  );
  if (known === undefined) return problem(404, 'not_found', 'no such command');
  call.truth.run(
    'UPDATE execs SET busy_until_ms = ? WHERE pid = ?',
    call.nowMs + Number(busyForMs),
    Number(pid),
  );
  return json(200, {});
}

export function files(call: Call): WireReply {
  const row = running(call);
  if ('status' in row) return row;
  const body = FilesSchema.safeParse(call.request.body);
  if (!body.success) return problem(400, 'invalid', 'not a request about files');
  touch(call, row);
  const path = posix.resolve(HOME_DIRECTORY, body.data.path);
  const found = find(call, row, path);
  switch (body.data.action) {
    case 'stat':
      return json(200, { entry: found === null ? null : entry(found) });
    case 'read':
      if (found?.type !== 'file') return problem(400, 'no_such_file', `${path} is not a file`);
      return json(200, { dataBase64: Buffer.from(found.data).toString('base64') });
    case 'list':
      if (found?.type !== 'directory') return problem(400, 'no_such_file', `${path} is not a directory`);
      return json(200, { entries: children(call, row, path).map(entry) });
    case 'write':
      return write(call, row, path, body.data);
  }
}

function find(call: Call, row: ThingRow, path: string): FileRow | null {
  if (DIRECTORIES.includes(path)) return directory(path, row.made_at_ms);
  const sql = 'SELECT * FROM files WHERE sequence = ? AND path = ?';
  return call.truth.get<FileRow>(sql, row.sequence, path) ?? null;
}

function directory(path: string, modifiedAtMs: number): FileRow {
  const data = new Uint8Array();
  return { path, type: 'directory', mode_bits: DIRECTORY_MODE_BITS, data, modified_at_ms: modifiedAtMs };
}

function children(call: Call, row: ThingRow, path: string): FileRow[] {
  const stored = call.truth.all<FileRow>(
    'SELECT * FROM files WHERE sequence = ? ORDER BY path',
    row.sequence,
  );
  const fixed = DIRECTORIES.filter((one) => one !== '/').map((one) => directory(one, row.made_at_ms));
  return [...fixed, ...stored].filter((file) => posix.dirname(file.path) === path && file.path !== path);
}

function write(call: Call, row: ThingRow, path: string, body: z.output<typeof FilesSchema>): WireReply {
  if (find(call, row, path)?.type === 'directory')
    return problem(400, 'is_directory', `${path} is a directory`);
  for (
    let parent = posix.dirname(path);
    find(call, row, parent)?.type !== 'directory';
    parent = posix.dirname(parent)
  ) {
    if (find(call, row, parent) !== null) return problem(400, 'not_a_directory', `${parent} is a file`);
    if (!body.makeParents) return problem(400, 'no_such_file', `${parent} does not exist`);
    store(call, row, directory(parent, call.nowMs));
  }
  const data = Buffer.from(body.dataBase64, 'base64');
  store(call, row, { path, type: 'file', mode_bits: body.modeBits, data, modified_at_ms: call.nowMs });
  return json(200, { sizeBytes: data.length });
}

function store(call: Call, row: ThingRow, file: FileRow): void {
  call.truth.run(
    'INSERT OR REPLACE INTO files VALUES(?, ?, ?, ?, ?, ?)',
    row.sequence,
    file.path,
    file.type,
    file.mode_bits,
    file.data,
    file.modified_at_ms,
  );
}

function entry(file: FileRow) {
  return {
    name: posix.basename(file.path) || '/',
    type: file.type,
    sizeBytes: file.data.length,
    modeBits: file.mode_bits,
    modifiedAtMs: file.modified_at_ms,
  };
}

export function logs(call: Call): WireReply {
  const row = running(call);
  if ('status' in row) return row;
  const body = LogSchema.safeParse(call.request.body);
  if (!body.success) return problem(400, 'invalid', 'not a request about the log');
  const pieces = call.truth.all<{ number: number; data: Uint8Array }>(
    'SELECT number, data FROM logs WHERE sequence = ? ORDER BY number',
    row.sequence,
  );
  const whole = Buffer.concat(pieces.map((piece) => piece.data));
  if (body.data.action === 'read') return json(200, { dataBase64: whole.toString('base64') });
  const added = Buffer.from(body.data.dataBase64, 'base64').subarray(0, LOG_BYTES_MAX);
  if (whole.length + added.length > LOG_BYTES_MAX)
    call.truth.run('DELETE FROM logs WHERE sequence = ?', row.sequence);
  call.truth.run('INSERT INTO logs(sequence, data) VALUES(?, ?)', row.sequence, added);
  return json(200, {});
}
