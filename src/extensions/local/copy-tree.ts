import { constants } from 'node:fs';
import { copyFile, lchown, mkdir, readdir, readFile, readlink, symlink } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { type IgnoreRules, isIgnored, parseIgnoreRules } from '../../domain/ignore-rules.ts';
import { LIMITS } from '../../domain/limits.ts';
import { linkStaysBelow } from '../../domain/link.ts';
import { printable } from '../../domain/text.ts';
import { ExtensionError } from '../../ports/extension.ts';

export interface CopyOptions {
  /** Owner of what is made, or null to leave it ours. */
  readonly ownerId: number | null;
  readonly respectGitignore: boolean;
  /** `inside`: a link that leads out of the tree is refused. `any`: links are copied as they are (an image). */
  readonly links: 'inside' | 'any';
  readonly signal: AbortSignal;
}

interface Walk {
  readonly source: string;
  readonly target: string;
  readonly options: CopyOptions;
  entries: number;
}

async function rulesOf(walk: Walk, relative: string): Promise<IgnoreRules[]> {
  if (!walk.options.respectGitignore) return [];
  try {
    const text = await readFile(join(walk.source, relative, '.gitignore'), 'utf8');
    return [parseIgnoreRules(relative, text)];
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}

async function copyLink(walk: Walk, relative: string): Promise<void> {
  const target = await readlink(join(walk.source, relative));
  if (walk.options.links === 'inside' && !linkStaysBelow(relative, target)) {
    throw new ExtensionError('invalid', `The link ${printable(relative)} in the repository leads out of it.`);
  }
  await symlink(target, join(walk.target, relative));
}

async function copyEntry(
  walk: Walk,
  relative: string,
  kind: 'directory' | 'file' | 'link',
  rules: readonly IgnoreRules[],
): Promise<void> {
  const to = join(walk.target, relative);
  if (kind === 'link') await copyLink(walk, relative);
  else if (kind === 'file') await copyFile(join(walk.source, relative), to, constants.COPYFILE_FICLONE);
  else await mkdir(to, { recursive: true });
  if (walk.options.ownerId !== null) await lchown(to, walk.options.ownerId, walk.options.ownerId);
  if (kind === 'directory') await copyDirectory(walk, relative, rules);
}

async function copyDirectory(walk: Walk, relative: string, outer: readonly IgnoreRules[]): Promise<void> {
  const rules = [...outer, ...(await rulesOf(walk, relative))];
  for (const entry of await readdir(join(walk.source, relative), { withFileTypes: true })) {
    walk.options.signal.throwIfAborted();
    walk.entries += 1;
    if (walk.entries > LIMITS.repositoryEntries) {
      throw new ExtensionError(
        'invalid',
        `${printable(walk.source)} has more than ${LIMITS.repositoryEntries} entries.`,
      );
    }
    if (entry.name.includes('\ufffd')) {
      throw new ExtensionError(
        'invalid',
        `A name in ${printable(relative || '.')} of the repository is not UTF-8.`,
      );
    }
    const path = posix.join(relative, entry.name);
    const kind = entry.isDirectory()
      ? 'directory'
      : entry.isFile()
        ? 'file'
        : entry.isSymbolicLink()
          ? 'link'
          : null;
    if (kind === null || isIgnored(rules, path, entry.isDirectory())) continue;
    await copyEntry(walk, path, kind, rules);
  }
}

/**
 * Copies the content of `source` into the existing directory `target`. Links are never followed; sockets, pipes
 * and devices are left out. Safe to repeat only into an empty target.
 */
export async function copyTree(source: string, target: string, options: CopyOptions): Promise<void> {
  await copyDirectory({ source, target, options, entries: 0 }, '', []);
}
