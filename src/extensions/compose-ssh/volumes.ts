/** Named volumes of a stack, read and written through the engine, which needs no program in any image. */
import { posix } from 'node:path';
import { ExtensionError } from '../../ports/extension.ts';
import type { HostClient } from './client.ts';
import { NAME_LABEL } from './compose-file-render.ts';
import { EngineApi } from './engine-api.ts';

const SERVICE_LABEL = 'com.docker.compose.service';

interface Mount {
  readonly Type: string;
  readonly Name?: string;
  readonly Source?: string;
  readonly Destination: string;
  readonly RW: boolean;
}

export interface StackContainer {
  readonly Id: string;
  readonly ImageID: string;
  /** The engine's word, such as running, and its sentence, such as "Up 3 seconds (healthy)". */
  readonly State: string;
  readonly Status: string;
  readonly Labels: Readonly<Record<string, string>>;
  readonly Mounts: readonly Mount[];
}

export interface VolumeMount {
  readonly volume: string;
  readonly service: string;
  readonly containerId: string;
  /** In the container. */
  readonly path: string;
  readonly isWritable: boolean;
}

export interface StackMounts {
  /** Of one of the containers; null where there is none. */
  readonly imageId: string | null;
  readonly services: readonly string[];
  readonly volumes: readonly VolumeMount[];
  /** Sentences: mounts that are neither a named volume nor in the workspace. */
  readonly others: readonly string[];
}

export function stackContainers(
  client: HostClient,
  stackName: string,
  signal: AbortSignal,
): Promise<readonly StackContainer[]> {
  const filters = encodeURIComponent(JSON.stringify({ label: [`${NAME_LABEL}=${stackName}`] }));
  const path = `/containers/json?all=true&filters=${filters}`;
  return new EngineApi(client).json({ method: 'GET', path, signal });
}

/** Everything that a stack's containers have mounted; one mount of each volume, a writable one where there is one. */
export function mountsOf(
  containers: readonly StackContainer[],
  stack: { readonly name: string; readonly workspace: string },
): StackMounts {
  const volumes = new Map<string, VolumeMount>();
  const others = new Set<string>();
  const services = new Set<string>();
  for (const { Id, Labels, Mounts } of containers) {
    const service = Labels[SERVICE_LABEL];
    if (service === undefined) continue; // one of ours, such as shows the workspace to the engine
    services.add(service);
    for (const mount of Mounts) {
      const volume = namedVolume(stack.name, mount);
      if (volume === null) {
        const isInside = `${mount.Source ?? ''}/`.startsWith(`${stack.workspace}/`);
        if (mount.Type === 'tmpfs' || (mount.Type === 'bind' && isInside)) continue;
        others.add(`what service ${service} has at ${mount.Destination}, which is no named volume`);
      } else if (volumes.get(volume)?.isWritable !== true) {
        const { Destination, RW } = mount;
        volumes.set(volume, { volume, service, containerId: Id, path: Destination, isWritable: RW });
      }
    }
  }
  return {
    imageId: containers[0]?.ImageID ?? null,
    services: [...services].sort(),
    volumes: [...volumes.values()].sort((left, right) => (left.volume < right.volume ? -1 : 1)),
    others: [...others].sort(),
  };
}

/** Compose calls the volume `data` of the project `p` `p_data`. */
function namedVolume(project: string, { Type, Name }: Mount): string | null {
  const prefix = `${project}_`;
  return Type === 'volume' && Name?.startsWith(prefix) ? Name.slice(prefix.length) : null;
}

export async function* packVolume(
  client: HostClient,
  { containerId, path, volume }: VolumeMount,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const from = `/containers/${containerId}/archive?path=${encodeURIComponent(path)}`;
  const content = await new EngineApi(client).download({ method: 'GET', path: from, signal });
  try {
    yield* content;
  } catch (cause) {
    signal.throwIfAborted();
    throw new ExtensionError('transient', `The engine stopped in the middle of volume ${volume}.`, { cause });
  }
}

/**
 * Into a volume of a container that was never started. Where the engine allows it, the volume's own directory is an entry
 * of its parent, so that it gets its owner and mode back too.
 */
export async function unpackVolume(
  client: HostClient,
  { containerId, path, isWritable, volume }: VolumeMount,
  open: (top: string) => AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  if (!isWritable)
    throw new ExtensionError('invalid', `No service mounts volume ${volume} so that it can be written to.`);
  const api = new EngineApi(client);
  const { engine } = await client.engine(signal);
  const { HostConfig } = await api.json<{ HostConfig: { ReadonlyRootfs?: boolean } }>({
    method: 'GET',
    path: `/containers/${containerId}/json`,
    signal,
  });
  const byParent = engine === 'docker' && HostConfig.ReadonlyRootfs !== true;
  const to = byParent ? posix.dirname(path) : path;
  await api.json({
    method: 'PUT',
    path: `/containers/${containerId}/archive?path=${encodeURIComponent(to)}`,
    content: open(byParent ? posix.basename(path) : ''),
    signal,
  });
}
