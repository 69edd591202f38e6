/** A directory of this machine as a tar stream. Links are kept as links; what is no file is left out. */
import { createReadStream, type Stats } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Pack, pack } from 'tar-stream';
import { SandboxerError } from '../../domain/errors.ts';

const PERMISSIONS = 0o777;

export interface CopyCount {
  files: number;
  bytes: number;
  /** What was left out, and why. */
  readonly leftOut: string[];
}

export function newCount(): CopyCount {
  return { files: 0, bytes: 0, leftOut: [] };
}

function closeEntry(archive: Pack, header: Parameters<Pack['entry']>[0]): Promise<void> {
  return new Promise((resolve, reject) => {
    archive.entry(header, '', (error) => (error ? reject(error) : resolve()));
  });
}

async function addFile(archive: Pack, path: string, name: string, found: Stats): Promise<void> {
  const header = { name, size: found.size, mode: found.mode & PERMISSIONS, mtime: found.mtime };
  if (found.size === 0) return closeEntry(archive, header);
  try {
    await pipeline(createReadStream(path, { end: found.size - 1 }), archive.entry(header));
  } catch (cause) {
    const shrunk = cause instanceof Error && cause.message === 'Size mismatch';
    if (!shrunk) throw cause;
    throw new SandboxerError('invalid_input', `${path} became shorter while it was copied.`, {
      nextStep: 'Copy it again once nothing writes to it.',
      cause,
    });
  }
}

async function addTree(archive: Pack, directory: string, prefix: string, count: CopyCount): Promise<void> {
  for (const child of (await readdir(directory)).sort()) {
    const path = join(directory, child);
    const name = `${prefix}${child}`;
    const found = await lstat(path);
    const common = { name, mode: found.mode & PERMISSIONS, mtime: found.mtime };
    if (found.isDirectory()) {
      await closeEntry(archive, { ...common, name: `${name}/`, type: 'directory' });
      await addTree(archive, path, `${name}/`, count);
    } else if (found.isSymbolicLink()) {
      await closeEntry(archive, { ...common, type: 'symlink', linkname: await readlink(path) });
    } else if (found.isFile()) {
      await addFile(archive, path, name, found);
      count.files += 1;
      count.bytes += found.size;
    } else count.leftOut.push(`${name}: neither a file, a directory nor a link`);
  }
}

/** The contents of the directory, names relative to it. */
export async function* packDirectory(directory: string, count: CopyCount): AsyncIterable<Uint8Array> {
  const archive = pack();
  const filling = addTree(archive, directory, '', count).then(
    () => archive.finalize(),
    (error: Error) => archive.destroy(error),
  );
  yield* archive as AsyncIterable<Uint8Array>;
  await filling;
}
