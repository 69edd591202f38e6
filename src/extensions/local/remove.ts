/** Removing what a sandbox left on disk, whatever shape it gave it. */
import { execFile } from 'node:child_process';
import { opendirSync, readdirSync, rmdirSync, rmSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isMissing } from './errors.ts';

const run = promisify(execFile);
/** Of them a sandbox has those it was made with. */
const OWN_DIRECTORIES = ['workspace', 'upper', 'home'];
/** Made by the overlay in its `work`. */
const OVERLAY_DIRECTORY = join('work', 'work');

function isEmpty(directory: string): boolean {
  try {
    const entries = opendirSync(directory);
    const first = entries.readSync();
    entries.closeSync();
    return first === null;
  } catch (error) {
    if (isMissing(error)) return true;
    return false; // it cannot even be looked into; the long way deals with it
  }
}

/** A few files of ours and empty directories: by name, since a general removal asks much more of the system. */
function removeBare(directory: string): void {
  rmSync(join(directory, OVERLAY_DIRECTORY), { recursive: true, force: true });
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) rmdirSync(path);
    else unlinkSync(path);
  }
  rmdirSync(directory);
}

/**
 * A box whose user wrote nothing is a handful of files of ours. Any other is removed by another process: the tree may be
 * of any depth and size, and the event loop must not wait for it.
 */
export async function removeBox(directory: string): Promise<void> {
  if (OWN_DIRECTORIES.every((name) => isEmpty(join(directory, name)))) {
    removeBare(directory);
    return;
  }
  if (process.getuid?.() !== 0)
    await run('chmod', ['--recursive', '--quiet', 'u+rwX', '--', directory]).catch(() => undefined); // `rm` tells what could not be opened
  await removeTree(directory);
}

/** Of any depth: Node's own removal names each file by its whole path, which may be longer than the system takes. */
export async function removeTree(path: string): Promise<void> {
  await run('rm', ['-rf', '--one-file-system', '--', path]);
}
