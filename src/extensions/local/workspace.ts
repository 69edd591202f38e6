/** What `/workspace` of a sandbox holds before anything runs in it. */
import { chmodSync, mkdirSync, statSync } from 'node:fs';
import { chown, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { printable } from '../../domain/text.ts';
import { ExtensionError, type ProvisionRequest } from '../../ports/extension.ts';
import type { RestoreSource } from '../../ports/snapshot.ts';
import type { LocalRequest } from './config.ts';
import { copyTree } from './copy-tree.ts';
import { USER_ID_INSIDE } from './identity.ts';
import type { Layers } from './layers.ts';
import type { Workspace } from './native/box-plan.ts';
import { restoreWorkspace } from './snapshots.ts';

const PERMISSION_BITS = 0o7777;

interface Owner {
  /** The sandbox's user outside; null where it is ours. */
  readonly id: number | null;
  /** The snapshot whose content is shared rather than copied, or null. */
  readonly layer: string | null;
}

/** Makes the workspace in the sandbox's own directory. A repository or a snapshot is all in it when this resolves. */
export async function makeWorkspace(
  directory: string,
  local: LocalRequest,
  { restore, signal }: ProvisionRequest,
  owner: Owner,
  layers: Layers,
): Promise<Workspace> {
  if (restore !== undefined && owner.layer !== null)
    return layerWorkspace(directory, restore, owner.layer, layers, signal);
  const workspace = join(directory, 'workspace');
  mkdirSync(workspace, { mode: 0o755 });
  if (restore !== undefined) await restoreWorkspace(workspace, restore, owner.id, signal);
  else if (local.repository !== null)
    await copyRepository(local.repository, workspace, local.respectGitignore, owner.id, signal);
  return { kind: 'own', name: 'workspace' };
}

async function layerWorkspace(
  directory: string,
  restore: RestoreSource,
  layer: string,
  layers: Layers,
  signal: AbortSignal,
): Promise<Workspace> {
  const fill = (to: string) => restoreWorkspace(to, restore, USER_ID_INSIDE, signal);
  const shared = await layers.prepare(layer, fill, signal);
  const [upper, work] = ['upper', 'work'];
  mkdirSync(join(directory, upper));
  /* The top directory of both is that of the upper one. */
  chmodSync(join(directory, upper), statSync(shared).mode & PERMISSION_BITS);
  mkdirSync(join(directory, work), { mode: 0o700 });
  return { kind: 'layered', shared, upper, work };
}

async function copyRepository(
  repository: string,
  workspace: string,
  respectGitignore: boolean,
  ownerId: number | null,
  signal: AbortSignal,
): Promise<void> {
  const source = await repositoryPath(repository);
  await copyTree(source, workspace, { ownerId, respectGitignore, links: 'inside', signal });
  if (ownerId !== null) await chown(workspace, ownerId, ownerId);
}

/** The directory a repository input names. Refuses, in one sentence, what cannot be copied. */
export async function repositoryPath(path: string): Promise<string> {
  try {
    const resolved = await realpath(path);
    if ((await stat(resolved)).isDirectory()) return resolved;
    throw new ExtensionError('invalid', `The repository ${printable(path)} is not a directory.`);
  } catch (error) {
    if (error instanceof ExtensionError) throw error;
    throw new ExtensionError(
      'invalid',
      `The repository ${printable(path)} does not exist or cannot be read.`,
      { cause: error },
    );
  }
}
