/** Making one stack of what a snapshot holds, in a place that was prepared. */
import { ExtensionError, type ProvisionRequest } from '../../ports/extension.ts';
import type { RestoredPart, RestoreSource } from '../../ports/snapshot.ts';
import type { HostClient, Place } from './client.ts';
import { type ComposeConfig, readRequest } from './config.ts';
import { compose, composeText, recordOf, recordText, UP_WORDS } from './make-stack.ts';
import { planRestoredStack } from './stack.ts';
import type { StackRecord } from './status.ts';
import { mountsOf, stackContainers, unpackVolume, type VolumeMount } from './volumes.ts';
import { filesOnHost, unpackWorkspace } from './workspace.ts';

export interface RestoreRequest {
  readonly request: ProvisionRequest;
  readonly config: ComposeConfig;
  readonly source: RestoreSource;
}

/** The Compose file is found and checked in the workspace as it lies on the host: the snapshot is not believed. */
async function writeComposeFile(
  client: HostClient,
  place: Place,
  making: RestoreRequest,
): Promise<StackRecord> {
  const { request, config } = making;
  const { signal } = request;
  const files = filesOnHost(client, place, signal);
  const planned = await planRestoredStack(readRequest(request.spec), config, files);
  const record = recordOf({ request, planned });
  const content = { record: recordText(record), compose: composeText(place, { request, planned }) };
  await client.writeStack(place, content, signal);
  return record;
}

/** The volumes of the containers, which are there and do not run yet. */
async function madeVolumes(
  client: HostClient,
  place: Place,
  signal: AbortSignal,
): Promise<readonly VolumeMount[]> {
  await compose(client, place, ['up', '--no-start'], signal);
  const stack = { name: place.name, workspace: place.directory };
  return mountsOf(await stackContainers(client, stack.name, signal), stack).volumes;
}

async function fillVolume(
  client: HostClient,
  volumes: readonly VolumeMount[],
  { part, open }: RestoredPart,
  signal: AbortSignal,
): Promise<void> {
  if (part.kind !== 'volume') throw new ExtensionError('invalid', 'The snapshot has its workspace twice.');
  const mount = volumes.find(({ volume }) => volume === part.name);
  if (mount === undefined) {
    throw new ExtensionError('invalid', `No service of the Compose file mounts the volume ${part.name}.`);
  }
  await unpackVolume(client, mount, open, signal);
}

/** Workspace, then the Compose file in it, then volumes of containers that do not run yet, then everything is started. */
export async function restoreStack(
  client: HostClient,
  place: Place,
  making: RestoreRequest,
): Promise<StackRecord> {
  const { request, source } = making;
  const { signal } = request;
  let record: StackRecord | null = null;
  let volumes: readonly VolumeMount[] = [];
  for await (const part of source.read(signal)) {
    if (part.part.kind === 'workspace') {
      await unpackWorkspace(client, place, part, signal);
      continue;
    }
    if (record === null) {
      record = await writeComposeFile(client, place, making);
      volumes = await madeVolumes(client, place, signal);
    }
    await fillVolume(client, volumes, part, signal);
  }
  record ??= await writeComposeFile(client, place, making);
  await compose(client, place, UP_WORDS, signal);
  return record;
}
