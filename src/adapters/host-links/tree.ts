/** What of a directory is copied: files, directories and links as links. Devices, sockets and pipes stay behind. */
import { lstat, readdir } from 'node:fs/promises';
import { printable } from '../../domain/text.ts';
import { ExtensionError } from '../../ports/extension.ts';

const SLASH = Buffer.from('/');

interface Kind {
  isFile(): boolean;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
}

const isCopied = (kind: Kind) => kind.isFile() || kind.isDirectory() || kind.isSymbolicLink();

async function below(directory: Buffer, prefix: Buffer, found: Buffer[]): Promise<void> {
  const entries = await readdir(directory, { withFileTypes: true, encoding: 'buffer' });
  for (const entry of entries) {
    if (!isCopied(entry)) continue;
    const path = prefix.length === 0 ? entry.name : Buffer.concat([prefix, SLASH, entry.name]);
    found.push(path);
    if (entry.isDirectory()) await below(Buffer.concat([directory, SLASH, entry.name]), path, found);
  }
}

function refuse(file: string, why: string): never {
  throw new ExtensionError('invalid', `"${printable(file, 100)}" cannot be copied to the host: ${why}.`);
}

/** One listed path, looked at without following anything: no part of its way may be a link. */
async function listed(from: string, file: string, directories: Set<string>): Promise<Buffer | null> {
  const parts = file.split('/').filter((part) => part !== '' && part !== '.');
  if (file.startsWith('/') || file.includes('\0') || parts.includes('..') || parts.length === 0)
    refuse(file, 'it is not a path inside the tree');
  for (let length = 1; length < parts.length; length += 1) {
    const parent = parts.slice(0, length).join('/');
    if (directories.has(parent)) continue;
    const kind = await lstat(`${from}/${parent}`).catch(() => refuse(file, 'it is not there'));
    if (!kind.isDirectory()) refuse(file, 'its way leads through something that is no directory');
    directories.add(parent);
  }
  const path = parts.join('/');
  const kind = await lstat(`${from}/${path}`).catch(() => refuse(file, 'it is not there'));
  return isCopied(kind) ? Buffer.from(path) : null;
}

/** The paths to copy, each ended by a NUL: the form that both rsync and tar read. Parents come before children. */
export async function copyList(from: string, files: readonly string[] | null): Promise<Buffer> {
  const found: Buffer[] = [];
  if (files === null) {
    const kind = await lstat(from).catch(() => null);
    if (kind === null || !kind.isDirectory()) refuse(from, 'it is not a directory');
    await below(Buffer.from(from), Buffer.alloc(0), found);
  } else {
    const directories = new Set<string>();
    for (const file of files) {
      const path = await listed(from, file, directories);
      if (path !== null) found.push(path);
    }
  }
  /* A name may begin with what rsync takes for a comment, or with a dash. */
  return Buffer.concat(found.flatMap((path) => [Buffer.from('./'), path, Buffer.of(0)]));
}
