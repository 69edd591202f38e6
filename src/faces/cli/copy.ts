/** `cp`: files as they are, directories as tar streams; the rules of `cp -r` say where things end up. */
import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { mkdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { SandboxerError } from '../../domain/errors.ts';
import { isSandboxId } from '../../domain/ids.ts';
import { connectTransport } from '../library/connect.ts';
import type { Transport } from '../library/transport.ts';
import { usageError } from './failure.ts';
import { type CopyCount, newCount, packDirectory } from './pack.ts';
import { startProgress } from './progress.ts';
import { shown } from './render/text.ts';
import { brokenSession } from './sessions.ts';
import type { Values } from './spec.ts';
import { type Terminal, write } from './terminal.ts';
import { unpackInto } from './unpack.ts';

const HELP = 'One side is <id>:<path>, e.g. sandboxer cp ./file <id>:/workspace/file';
const LEFT_OUT_SHOWN = 10;
const STANDARD_STREAM = '-';
const PERMISSIONS = 0o777;

interface Inside {
  readonly id: string;
  readonly path: string;
}

/** `<id>:<path>`, or what looks like it and names no file here; anything else is a path here. */
function insideOf(text: string): Inside | null {
  const colon = text.indexOf(':');
  const id = text.slice(0, Math.max(0, colon));
  if (!isSandboxId(id) && (!/^[0-9a-z]+$/i.test(id) || existsSync(text))) return null;
  const path = text.slice(colon + 1);
  if (path === '') throw usageError(`"${text}" names no path inside.`, HELP);
  return { id, path };
}

/** Copies what is in it, not itself: `dir/.`, as with cp. */
function meansContents(path: string): boolean {
  return path === '.' || path.endsWith('/.') || /^\/+$/.test(path);
}

async function isDirectoryInside(transport: Transport, at: Inside): Promise<boolean> {
  try {
    await transport.call('list_files', { id: at.id, path: at.path });
    return true;
  } catch (error) {
    if (error instanceof SandboxerError && ['invalid_input', 'not_found'].includes(error.code)) {
      await transport.call('get', { id: at.id }); // a sandbox that is not there is another matter
      return false;
    }
    throw error;
  }
}

async function copyIn(transport: Transport, from: string, to: Inside, count: CopyCount): Promise<string> {
  if (from === STANDARD_STREAM) {
    await transport.upload('write_file', { ...to }, counted(process.stdin, count));
    return to.path;
  }
  const found = await stat(from);
  const into = to.path.endsWith('/') || (await isDirectoryInside(transport, to));
  const name = basename(resolve(from));
  const below = into && !(found.isDirectory() && meansContents(from));
  const path = below ? `${to.path.replace(/\/+$/, '')}/${name}` : to.path;
  if (found.isDirectory()) {
    await transport.upload('write_archive', { id: to.id, path }, packDirectory(from, count));
    return path;
  }
  if (!found.isFile()) throw usageError(`${from} is neither a file nor a directory.`, HELP);
  const mode = (found.mode & PERMISSIONS).toString(8).padStart(3, '0');
  await transport.upload('write_file', { id: to.id, path, mode }, counted(createReadStream(from), count));
  return path;
}

/** Says of what breaks off what it is. */
async function* mended(chunks: AsyncIterable<Uint8Array>, id: string): AsyncIterable<Uint8Array> {
  try {
    yield* chunks;
  } catch (error) {
    throw brokenSession(error, id);
  }
}

/** Counts what passes. */
async function* counted(chunks: AsyncIterable<Uint8Array>, count: CopyCount): AsyncIterable<Uint8Array> {
  count.files += 1;
  for await (const chunk of chunks) {
    count.bytes += chunk.length;
    yield chunk;
  }
}

function besides(target: string): string {
  return join(dirname(target), `.${basename(target)}.${randomBytes(4).toString('hex')}.partial`);
}

/** Works on a name beside the target, which then appears whole or not at all. */
async function appearing(target: string, work: (draft: string) => Promise<void>): Promise<void> {
  const draft = besides(target);
  try {
    await work(draft);
    await rename(draft, target);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    if (!missing) throw error;
    throw new SandboxerError('invalid_input', `There is no directory ${dirname(target)}.`, {
      nextStep: `Make it: mkdir -p ${dirname(target)}`,
      cause: error,
    });
  }
}

async function fileOut(transport: Transport, from: Inside, to: string, count: CopyCount): Promise<string> {
  const content = await transport.download('read_file', { ...from });
  const chunks = counted(mended(content, from.id), count);
  if (to === STANDARD_STREAM) {
    for await (const chunk of chunks) await write(process.stdout, chunk);
    return 'standard output';
  }
  const into = to.endsWith('/') || (existsSync(to) && (await stat(to)).isDirectory());
  const target = into ? join(to, basename(from.path)) : to;
  await appearing(target, (draft) => pipeline(Readable.from(chunks), createWriteStream(draft)));
  return target;
}

async function directoryOut(
  transport: Transport,
  from: Inside,
  to: string,
  count: CopyCount,
): Promise<string> {
  if (to === STANDARD_STREAM) throw usageError('A directory cannot go to standard output.', HELP);
  const contents = meansContents(from.path);
  const path = /^\/+$/.test(from.path) ? '/.' : from.path;
  const top = contents ? '.' : basename(from.path);
  const chunks = await transport.download('read_archive', { id: from.id, path });
  const target = existsSync(to) && !contents ? join(to, top) : to;
  const unpack = (root: string) => unpackInto(resolve(root), top, mended(chunks, from.id), count);
  if (existsSync(target)) await unpack(target);
  else {
    await appearing(target, async (draft) => {
      await mkdir(draft);
      await unpack(draft);
    });
  }
  return target;
}

/** A file here that cannot be read or written, however deep the error comes from. */
function problemHere(error: unknown): unknown {
  if (error instanceof SandboxerError && error.code !== 'internal') return error;
  for (let at = error; at instanceof Error; at = at.cause) {
    if (!('syscall' in at && 'path' in at && typeof at.path === 'string')) continue;
    const why = at.message.split(', ')[0]!.replace(/^[A-Z]+: /, '');
    return new SandboxerError('invalid_input', `${at.path}: ${why}.`, {
      nextStep: 'Mend it here, and copy again.',
      cause: error,
    });
  }
  return error;
}

function tell(count: CopyCount, from: string, to: string, terminal: Terminal): void {
  const files = count.files === 1 ? '1 file' : `${count.files} files`;
  terminal.say(`Copied ${files}, ${count.bytes} bytes: ${shown(from)} → ${shown(to)}`);
  for (const line of count.leftOut.slice(0, LEFT_OUT_SHOWN)) terminal.complain(`  left out ${shown(line)}`);
  const more = count.leftOut.length - LEFT_OUT_SHOWN;
  if (more > 0) terminal.complain(`  left out ${more} more`);
}

export async function runCopy(values: Values, terminal: Terminal): Promise<number> {
  const { source, destination } = values as { source: string; destination: string };
  const from = insideOf(source);
  const to = insideOf(destination);
  if ((from === null) === (to === null)) {
    const which = from === null ? 'Neither side names a sandbox.' : 'Both sides name a sandbox.';
    throw usageError(which, HELP);
  }
  const transport = await connectTransport();
  const progress = startProgress(terminal, `copying ${source}`);
  const count = newCount();
  try {
    let target: string;
    if (to !== null) target = `${to.id}:${await copyIn(transport, source, to, count)}`;
    else if (await isDirectoryInside(transport, from!))
      target = await directoryOut(transport, from!, destination, count);
    else target = await fileOut(transport, from!, destination, count);
    progress.stop();
    tell(count, source, target, terminal);
    return 0;
  } catch (error) {
    throw problemHere(error);
  } finally {
    progress.stop();
    await transport.close();
  }
}
