/**
 * Unpacks a tar stream that a sandbox made, which is to say a stranger. Nothing is written outside the target:
 * names that climb out end the copy, links are never walked through, and links that lead out are not made.
 */
import { constants } from 'node:fs';
import { chmod, copyFile, lstat, mkdir, open, rm, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract, type Header } from 'tar-stream';
import { SandboxerError } from '../../domain/errors.ts';
import { linkStaysBelow } from '../../domain/link.ts';
import { printable } from '../../domain/text.ts';
import type { CopyCount } from './pack.ts';

const PERMISSIONS = 0o777;
const WHILE_FILLING = 0o700;
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

interface Unpacking {
  /** Exists, and is a directory. */
  readonly root: string;
  /** The first part of every name, or `.` where names are relative. */
  readonly top: string;
  readonly count: CopyCount;
  /** Set at the end: a directory may be one nobody may write to. */
  readonly directoryModes: Map<string, number>;
}

function refuse(name: string): SandboxerError {
  return new SandboxerError(
    'invalid_input',
    `The archive names "${printable(name, 120)}", which is outside of what is copied; the copy was refused.`,
    { nextStep: 'Something in the sandbox makes archives that must not be trusted.' },
  );
}

function inTheWay(path: string, what: string): SandboxerError {
  return new SandboxerError('invalid_input', `${path} is ${what} in the sandbox.`, {
    nextStep: 'Remove it, or copy to another place.',
  });
}

/** The parts of a name below the root. Throws where it does not stay below. */
export function partsBelow(name: string, top: string): readonly string[] {
  if (name.startsWith('/') || name.includes('\0')) throw refuse(name);
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw refuse(name);
  if (top === '.') return parts;
  if (parts[0] !== top) throw refuse(name);
  return parts.slice(1);
}

/** The top is asked for too: it is refused as a place, like any other name that cannot be made. */
function isMadeAsLink(parts: readonly string[], target: string): boolean {
  return parts.length === 0 || (target !== '' && linkStaysBelow(parts.join('/'), target));
}

async function kindOf(path: string): Promise<'directory' | 'file' | 'other' | 'missing'> {
  try {
    const found = await lstat(path);
    if (found.isDirectory()) return 'directory';
    return found.isFile() ? 'file' : 'other';
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 'missing';
    throw error;
  }
}

/** Makes every directory on the way a real one. A link in the way is never followed: it ends the copy. */
async function makeDirectory(unpacking: Unpacking, parts: readonly string[]): Promise<string> {
  let path = unpacking.root;
  for (const part of parts) {
    path = join(path, part);
    const kind = await kindOf(path);
    if (kind === 'missing') {
      await mkdir(path, { mode: WHILE_FILLING });
      unpacking.directoryModes.set(path, 0o755);
    } else if (kind !== 'directory') throw inTheWay(path, 'no directory here, and one');
  }
  return path;
}

/** Where the entry goes; what was there under its name is gone, a directory excepted. */
async function makePlace(unpacking: Unpacking, parts: readonly string[], name: string): Promise<string> {
  if (parts.length === 0) throw refuse(name);
  const path = join(await makeDirectory(unpacking, parts.slice(0, -1)), parts.at(-1)!);
  if ((await kindOf(path)) !== 'directory') {
    await rm(path, { force: true });
    return path;
  }
  throw inTheWay(path, 'a directory here, and none');
}

async function makeFile(
  unpacking: Unpacking,
  header: Header,
  content: AsyncIterable<Uint8Array>,
  path: string,
): Promise<void> {
  const file = await open(path, NEW_FILE, WHILE_FILLING);
  try {
    for await (const chunk of content) await file.writeFile(chunk);
    await file.chmod(header.mode & PERMISSIONS);
    await file.utimes(header.mtime, header.mtime);
  } finally {
    await file.close();
  }
  unpacking.count.files += 1;
  unpacking.count.bytes += header.size;
}

/** A second name of a file that came before: copied, so that the two do not share anything here. */
async function makeSecondName(unpacking: Unpacking, header: Header, path: string): Promise<void> {
  const parts = partsBelow(header.linkname, unpacking.top);
  const source = join(unpacking.root, ...parts);
  for (let parent = dirname(source); parent.length > unpacking.root.length; parent = dirname(parent)) {
    if ((await kindOf(parent)) !== 'directory') throw refuse(header.linkname);
  }
  if ((await kindOf(source)) !== 'file') throw refuse(header.linkname);
  await copyFile(source, path, constants.COPYFILE_EXCL);
  unpacking.count.files += 1;
}

async function unpackEntry(unpacking: Unpacking, header: Header, content: Readable): Promise<void> {
  const { name, type } = header;
  const parts = partsBelow(name, unpacking.top);
  if (type === 'directory') {
    const path = await makeDirectory(unpacking, parts);
    if (parts.length > 0) unpacking.directoryModes.set(path, header.mode & PERMISSIONS);
  } else if (type === 'file' || type === 'contiguous-file') {
    await makeFile(unpacking, header, content, await makePlace(unpacking, parts, name));
  } else if (type === 'link') {
    await makeSecondName(unpacking, header, await makePlace(unpacking, parts, name));
  } else if (type === 'symlink' && isMadeAsLink(parts, header.linkname)) {
    await symlink(header.linkname, await makePlace(unpacking, parts, name));
  } else {
    const why = type === 'symlink' ? `a link that leads out, to ${header.linkname}` : `a ${type}`;
    unpacking.count.leftOut.push(printable(`${parts.join('/')}: ${why}`, 200));
  }
  content.resume();
}

/** The reader's own errors; those of the system name the call that failed. */
function isArchiveError(error: unknown): error is Error {
  return error instanceof Error && !(error instanceof SandboxerError) && !('syscall' in error);
}

function brokenArchive(cause: Error): SandboxerError {
  return new SandboxerError('invalid_input', 'What the sandbox sent is no archive, or not a whole one.', {
    nextStep: 'Check that tar inside works: sandboxer exec <id> -- tar --version',
    cause,
  });
}

/** Unpacks into `root`, an existing directory. Rejects at the first name that does not stay below it. */
export async function unpackInto(
  root: string,
  top: string,
  chunks: AsyncIterable<Uint8Array>,
  count: CopyCount,
): Promise<void> {
  const unpacking: Unpacking = { root, top, count, directoryModes: new Map() };
  const extractor = extract();
  const feeding = pipeline(
    Readable.from(chunks, { objectMode: false }),
    extractor as unknown as NodeJS.WritableStream,
  );
  feeding.catch(() => undefined); // awaited below, or a consequence of what ended the loop
  try {
    for await (const entry of extractor) {
      await unpackEntry(unpacking, entry.header, entry as unknown as Readable);
    }
    await feeding;
  } catch (error) {
    throw isArchiveError(error) ? brokenArchive(error) : error;
  } finally {
    for (const [path, mode] of [...unpacking.directoryModes].reverse()) await chmod(path, mode);
  }
}
