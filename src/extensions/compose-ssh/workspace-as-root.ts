/**
 * A workspace whose files our user may not all read, since containers wrote them: the engine reads it, through a container
 * that shows it and never runs. No image needs a program for that.
 */
import { ExtensionError } from '../../ports/extension.ts';
import type { HostClient, Place } from './client.ts';
import { NAME_LABEL } from './compose-file-render.ts';
import { EngineApi } from './engine-api.ts';

const PATH = '/sandboxer-workspace';

/** As a tar stream. Rejects at its end when it is not complete. `destroy` removes what a crash leaves of it. */
export async function* packWorkspaceAsRoot(
  client: HostClient,
  place: Place,
  imageId: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const api = new EngineApi(client);
  const body = {
    Image: imageId,
    Labels: { [NAME_LABEL]: place.name },
    HostConfig: { Binds: [`${place.directory}:${PATH}:ro`], NetworkMode: 'none' },
  };
  const path = '/containers/create';
  const { Id } = await api.json<{ Id: string }>({ method: 'POST', path, body, signal });
  try {
    const from = `/containers/${Id}/archive?path=${PATH}`;
    yield* await api.download({ method: 'GET', path: from, signal });
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof ExtensionError) throw cause;
    throw new ExtensionError('transient', 'The engine stopped in the middle of the workspace.', { cause });
  } finally {
    // After an abort nothing more is asked: the container goes with the sandbox.
    if (!signal.aborted)
      await api.json({ method: 'DELETE', path: `/containers/${Id}?force=true&v=true`, signal });
  }
}
