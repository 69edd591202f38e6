/** What of a repository goes to the host, and where its Compose file is. */
import { lstat, readdir, readFile, readlink, realpath, stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { parseDocument } from 'yaml';
import { type IgnoreRules, isIgnored, parseIgnoreRules } from '../../domain/ignore-rules.ts';
import { LIMITS } from '../../domain/limits.ts';
import { linkStaysBelow } from '../../domain/link.ts';
import { printable } from '../../domain/text.ts';
import { ExtensionError } from '../../ports/extension.ts';
import type { ComposeRequest } from './config.ts';

const MANIFEST = 'e2e/e2e.yml';
const USUAL_FILES = [
  'e2e/compose.yml',
  'compose.yaml',
  'compose.yml',
  'docker-compose.yaml',
  'docker-compose.yml',
];
export const FILE_BYTES_MAX = 256 * 1024;

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && ['ENOENT', 'ENOTDIR'].includes(String(error.code));
}

/** The directory a repository input names. Refuses, in one sentence, what cannot be copied. */
export async function repositoryDirectory(path: string): Promise<string> {
  try {
    const resolved = await realpath(path);
    if ((await stat(resolved)).isDirectory()) return resolved;
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw new ExtensionError('invalid', `The repository ${printable(path)} does not exist.`, {
      cause: error,
    });
  }
  throw new ExtensionError('invalid', `The repository ${printable(path)} is not a directory.`);
}

export interface WorkspaceFile {
  readonly path: string;
  readonly text: string;
}

/** What the Compose file and what it names are read from: a repository here, or a workspace on its host. */
export interface WorkspaceFiles {
  /** The first of these files that is there, or null. It must be a plain one: a link could lead anywhere. */
  readFirst(paths: readonly string[]): Promise<WorkspaceFile | null>;
  /** The first of the paths' beginnings that is a link, or null. */
  linkIn(paths: readonly string[]): Promise<string | null>;
}

/** `path` as Compose would see it; refuses one that leads out. */
export function insideWorkspace(path: string): string {
  const clean = posix.normalize(path);
  if (!posix.isAbsolute(clean) && !clean.startsWith('..') && !clean.includes('\0')) return clean;
  throw new ExtensionError('invalid', `The Compose file ${printable(path)} must lie inside the repository.`);
}

export function tooLarge(path: string): ExtensionError {
  return new ExtensionError('invalid', `${printable(path)} is too large.`);
}

export function notPlain(path: string): ExtensionError {
  return new ExtensionError('invalid', `${printable(path)} in the repository is not a plain file.`);
}

/** Of a directory of this machine. */
export function repositoryFiles(root: string): WorkspaceFiles {
  return {
    async readFirst(paths) {
      for (const path of paths) {
        const text = await readPlainFile(root, path);
        if (text !== null) return { path, text };
      }
      return null;
    },
    linkIn: (paths) => linkIn(root, paths),
  };
}

async function readPlainFile(repository: string, path: string): Promise<string | null> {
  const clean = insideWorkspace(path);
  try {
    const place = join(repository, clean);
    const [kind, real] = [await lstat(place), await realpath(place)];
    if (!kind.isFile() || real !== join(await realpath(repository), clean)) {
      throw notPlain(path);
    }
    if (kind.size > FILE_BYTES_MAX) throw tooLarge(path);
    return await readFile(place, 'utf8');
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

async function fileOfManifest(files: WorkspaceFiles): Promise<string | null> {
  const manifest = await files.readFirst([MANIFEST]);
  if (manifest === null) return null;
  const document = parseDocument(manifest.text, { uniqueKeys: true });
  const broken = document.errors[0];
  if (broken !== undefined) {
    const line = broken.linePos?.[0].line ?? 1;
    throw new ExtensionError('invalid', `${MANIFEST}:${line}: ${broken.message.split('\n')[0]}`);
  }
  const named = document.get('compose_file');
  if (named === undefined) return null;
  if (typeof named === 'string' && named !== '') return named;
  throw new ExtensionError('invalid', `${MANIFEST}: compose_file must be a path.`);
}

/** As the input says, else `e2e/e2e.yml`, else `e2e/compose.yml`, else the usual names at the root; null for none of these. */
export async function findComposeFile(
  files: WorkspaceFiles,
  asked: string | null,
): Promise<WorkspaceFile | null> {
  const named = asked ?? (await fileOfManifest(files));
  const found = await files.readFirst(named === null ? USUAL_FILES : [named]);
  if (found !== null || named === null) return found;
  throw new ExtensionError('invalid', `The Compose file ${printable(named)} is not in the repository.`);
}

export function noComposeFile(): ExtensionError {
  return new ExtensionError(
    'invalid',
    `The repository has no Compose file; looked for ${USUAL_FILES.join(', ')}.`,
  );
}

interface Walk {
  readonly root: string;
  readonly request: Pick<ComposeRequest, 'respectGitignore' | 'withGit'>;
  readonly signal: AbortSignal;
  readonly files: string[];
}

async function rulesOf(walk: Walk, directory: string): Promise<IgnoreRules[]> {
  if (!walk.request.respectGitignore) return [];
  try {
    return [parseIgnoreRules(directory, await readFile(join(walk.root, directory, '.gitignore'), 'utf8'))];
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

async function walkDirectory(walk: Walk, directory: string, outer: readonly IgnoreRules[]): Promise<void> {
  const rules = [...outer, ...(await rulesOf(walk, directory))];
  for (const entry of await readdir(join(walk.root, directory), { withFileTypes: true })) {
    walk.signal.throwIfAborted();
    const path = posix.join(directory, entry.name);
    if (entry.name === '.git' && !walk.request.withGit) continue;
    if (isIgnored(rules, path, entry.isDirectory())) continue;
    if (entry.isSymbolicLink()) await refuseLinkOut(walk, path);
    walk.files.push(path);
    if (walk.files.length > LIMITS.repositoryEntries) {
      throw new ExtensionError(
        'invalid',
        `The repository has more than ${LIMITS.repositoryEntries} entries.`,
      );
    }
    if (entry.isDirectory()) await walkDirectory(walk, path, rules);
  }
}

async function refuseLinkOut(walk: Walk, path: string): Promise<void> {
  if (linkStaysBelow(path, await readlink(join(walk.root, path)))) return;
  throw new ExtensionError('invalid', `The link ${printable(path)} in the repository leads out of it.`);
}

/** Relative paths of everything that goes up. */
export async function listRepository(
  root: string,
  request: Walk['request'],
  signal: AbortSignal,
): Promise<readonly string[]> {
  const walk: Walk = { root, request, signal, files: [] };
  await walkDirectory(walk, '', []);
  return walk.files;
}

async function linkIn(root: string, paths: readonly string[]): Promise<string | null> {
  for (const path of paths) {
    const parts = posix.normalize(path).split('/');
    for (let length = 1; length <= parts.length; length += 1) {
      const part = parts.slice(0, length).join('/');
      const kind = await lstat(join(root, part)).catch(() => null); // not there: the engine says so itself
      if (kind?.isSymbolicLink()) return part;
    }
  }
  return null;
}

/** Nothing that the engine opens on the host may be a link there: what it leads to is not of the workspace. */
export async function refuseLinkedPaths(files: WorkspaceFiles, paths: readonly string[]): Promise<void> {
  const link = paths.length === 0 ? null : await files.linkIn(paths);
  if (link === null) return;
  throw new ExtensionError('invalid', `${printable(link)} is used by the Compose file and is a link.`);
}
