/** Removing what a sandbox left on disk, whatever shape it gave it. */
import { execFile } from 'node:child_process';
import { readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isMissing } from './errors.ts';

const run = promisify(execFile);
/** Of the overlay, which makes one of the same name in it and leaves that empty. */
const OVERLAY_DIRECTORY = 'work';

function removeEmpty(directory: string): boolean {
  try {
    rmdirSync(directory);
    return true;
  } catch (error) {
    return isMissing(error); // else it holds something or cannot be changed; the long way deals with it
  }
}

/** A few files of ours and empty directories: by name, since a general removal asks much more of the system. */
function removeBare(box: string): boolean {
  const entries = readdirSync(box, { withFileTypes: true });
  for (const entry of entries) {
    if (!entry.isDirectory()) continue;
    const directory = join(box, entry.name);
    if (entry.name === OVERLAY_DIRECTORY && !removeEmpty(join(directory, entry.name))) return false;
    if (!removeEmpty(directory)) return false;
  }
  for (const entry of entries) if (!entry.isDirectory()) unlinkSync(join(box, entry.name));
  rmdirSync(box);
  return true;
}

/**
 * A box whose user wrote nothing is a handful of files of ours. Any other is removed by another process: the tree may be
 * of any depth and size, and the event loop must not wait for it.
 */
export async function removeBox(box: string): Promise<void> {
  if (removeBare(box)) return;
  if (process.getuid?.() !== 0)
    await run('chmod', ['--recursive', '--quiet', 'u+rwX', '--', box]).catch(() => undefined); // `rm` tells what could not be opened
  await removeTree(box);
}

/** Of any depth: Node's own removal names each file by its whole path, which may be longer than the system takes. */
export async function removeTree(path: string): Promise<void> {
  await run('rm', ['-rf', '--one-file-system', '--', path]);
}
