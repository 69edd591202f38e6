import { createHash, randomUUID } from 'node:crypto';
import { constants, createWriteStream } from 'node:fs';
import {
  access,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  realpath,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises';
import { join, posix } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract, type Header } from 'tar-stream';
import { LIMITS } from '../../domain/limits.ts';
import { printable } from '../../domain/text.ts';
import { ExtensionError } from '../../ports/extension.ts';
import { copyTree } from './copy-tree.ts';
import { isMissing } from './errors.ts';
import { prepareImageRoot } from './native/base-files.ts';

const EXECUTE_BITS = 0o111;

function refuse(name: string, why: string): ExtensionError {
  return new ExtensionError('invalid', `The image entry ${printable(name, 120)} ${why}.`);
}

/** The path of an entry below the root; refuses one that would climb out. */
function safePath(name: string): string {
  const path = posix
    .normalize(name)
    .replace(/^(\.?\/)+/, '')
    .replace(/\/+$/, '');
  if (path.split('/').includes('..') || name.includes('\0')) throw refuse(name, 'climbs out of the image');
  return path;
}

/** Refuses to write through a link that an earlier entry made. */
async function ensureParents(root: string, path: string): Promise<void> {
  let current = root;
  for (const part of path.split('/').slice(0, -1)) {
    current = join(current, part);
    try {
      const status = await lstat(current);
      if (!status.isDirectory()) throw refuse(path, 'lies below something that is no directory');
    } catch (error) {
      if (!isMissing(error)) throw error;
      await mkdir(current, { mode: 0o755 });
    }
  }
}

async function writeEntry(root: string, header: Header, content: AsyncIterable<Uint8Array>): Promise<void> {
  const path = safePath(header.name);
  if (path === '' || path === '.') return;
  await ensureParents(root, path);
  const to = join(root, path);
  if (header.type === 'directory') {
    const existing = await lstat(to).catch(() => null);
    if (existing !== null && !existing.isDirectory()) await rm(to);
    await mkdir(to, { recursive: true, mode: 0o755 });
  } else if (header.type === 'file' || header.type === 'contiguous-file') {
    await rm(to, { force: true });
    const mode = 0o644 | ((header.mode ?? 0) & EXECUTE_BITS);
    await pipeline(content, createWriteStream(to, { flags: 'wx', mode }));
  } else if (header.type === 'symlink') {
    await rm(to, { force: true });
    await symlink(header.linkname ?? '', to);
  } else if (header.type === 'link') {
    const target = safePath(header.linkname ?? '');
    await ensureParents(root, target);
    if (!(await lstat(join(root, target))).isFile())
      throw refuse(header.name, 'is a hard link to something that is no file');
    await rm(to, { force: true });
    await link(join(root, target), to);
  }
  // devices and pipes are left out: the sandbox has its own /dev
}

/** The bytes of an image file. A pipe or a device would never end, or never begin. */
async function openArchive(path: string): Promise<Readable> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  if ((await handle.stat()).isFile()) return handle.createReadStream();
  await handle.close();
  throw new ExtensionError('invalid', `The image ${printable(path)} is neither a directory nor a file.`);
}

async function readEntries(archive: string, root: string, reader: ReturnType<typeof extract>): Promise<void> {
  let entries = 0;
  let bytes = 0;
  for await (const entry of reader) {
    entries += 1;
    bytes += entry.header.size ?? 0;
    if (entries > LIMITS.repositoryEntries || bytes > LIMITS.repositoryBytes) {
      throw refuse(archive, 'is over the size limit');
    }
    await writeEntry(root, entry.header, entry as AsyncIterable<Uint8Array>);
    entry.resume();
  }
}

async function unpack(archive: string, root: string, signal: AbortSignal): Promise<void> {
  try {
    const source = await openArchive(archive);
    const reader = extract();
    const unzip = /\.(tgz|gz)$/.test(archive) ? [createGunzip()] : [];
    await Promise.all([pipeline([source, ...unzip, reader], { signal }), readEntries(archive, root, reader)]);
  } catch (error) {
    if (error instanceof ExtensionError) throw error;
    throw new ExtensionError('invalid', `${printable(archive)} is not a tar file that can be unpacked.`, {
      cause: error,
    });
  }
}

/** Changes whenever a name, size, mode or time in the tree does. */
async function stampOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  async function visit(current: string): Promise<void> {
    const status = await lstat(current);
    hash.update(`${current}\0${status.size}\0${status.mode}\0${status.mtimeMs}\n`);
    if (!status.isDirectory()) return;
    for (const name of (await readdir(current)).sort()) await visit(join(current, name));
  }
  await visit(path);
  return hash.digest('hex').slice(0, 24);
}

/** Images are unpacked once into `directory/<stamp>` and shared, read-only, by the sandboxes that name them. */
export async function prepareImage(directory: string, image: string, signal: AbortSignal): Promise<string> {
  const path = await realpath(image).catch(() => {
    throw new ExtensionError('invalid', `The image ${printable(image)} does not exist.`);
  });
  const ready = join(directory, await stampOf(path));
  if (
    await access(ready).then(
      () => true,
      () => false,
    )
  )
    return ready;
  const draft = join(directory, `draft-${randomUUID()}`);
  await mkdir(draft, { recursive: true, mode: 0o755 });
  try {
    if ((await stat(path)).isDirectory()) {
      await copyTree(path, draft, { ownerId: null, respectGitignore: false, links: 'any', signal });
    } else {
      await unpack(path, draft, signal);
    }
    await prepareImageRoot(draft);
    await rename(draft, ready).catch(async (error: unknown) => {
      if (
        !(await access(ready).then(
          () => true,
          () => false,
        ))
      )
        throw error;
    });
    return ready;
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}
