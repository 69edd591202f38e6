import { ExtensionError, type Reference } from '../../ports/extension.ts';
import type { Capture, CapturedPart, CaptureRequest, Snapshots } from '../../ports/snapshot.ts';
import { type Place, placeOf } from './client.ts';
import { type Hold, holdStack } from './hold.ts';
import type { PlacedStack } from './sessions.ts';
import { mountsOf, packVolume, type StackContainer, stackContainers } from './volumes.ts';
import { packWorkspaceAsRoot } from './workspace-as-root.ts';
import { startReading, type WorkspaceReader } from './workspace-reader.ts';

async function* heldFor(content: AsyncIterable<Uint8Array>, hold: Hold): AsyncGenerator<Uint8Array> {
  yield* content;
  await hold.release();
}

/** What is compressed, written and flushed after the last part was read needs no stack that stands still. */
function untilLast(parts: readonly CapturedPart[], hold: Hold): readonly CapturedPart[] {
  const last = parts.at(-1)!;
  const open: CapturedPart['open'] = async (stop) => heldFor(await last.open(stop), hold);
  return [...parts.slice(0, -1), { ...last, open }];
}

/** Containers of a stack that was taken down and made again are others. */
function areRunning(before: readonly StackContainer[], now: readonly StackContainer[]): boolean {
  const known = new Set(before.map(({ Id }) => Id));
  const isFine = ({ Id, State, Status }: StackContainer) =>
    known.delete(Id) && State === 'running' && !Status.includes('(unhealthy)');
  return now.every(isFine) && known.size === 0;
}

/** `reader` is null where our user may not read all of the workspace. */
async function captured(
  { client, name, pauseMaxS }: PlacedStack,
  place: Place,
  reader: WorkspaceReader | null,
  signal: AbortSignal,
): Promise<Capture> {
  const isHeld = pauseMaxS > 0;
  const [containers, early] = await Promise.all([
    stackContainers(client, name, signal),
    isHeld ? reader?.untilReady() : reader?.begin(),
  ]);
  const stack = { name, workspace: place.directory };
  const { imageId, services, volumes, others } = mountsOf(containers, stack);
  if (services.length === 0 || imageId === null)
    throw new ExtensionError('transient', 'The stack has no containers any more.');
  const hold = isHeld ? await holdStack(client, place, pauseMaxS, signal) : null;
  const end = async () => {
    await hold?.release();
    await reader?.end();
  };
  try {
    const isChanges = (early ?? (await reader?.begin())) === true;
    const workspace: CapturedPart = {
      part: { kind: 'workspace' },
      isChanges,
      open: async (stop) => reader?.content() ?? packWorkspaceAsRoot(client, place, imageId, stop),
    };
    const parts = volumes.map(
      (mount): CapturedPart => ({
        part: { kind: 'volume', name: mount.volume, service: mount.service },
        open: async (stop) => packVolume(client, mount, stop),
      }),
    );
    const all = [workspace, ...parts];
    const { engine } = await client.engine(signal);
    return {
      engine,
      services,
      parts: hold === null ? all : untilLast(all, hold),
      notCaptured: ["what services wrote into their containers' own layers", ...others],
      ranThrough: async (stop) => areRunning(containers, await stackContainers(client, name, stop)),
      end,
    };
  } catch (error) {
    await end().catch(() => undefined); // `error` came first
    throw error;
  }
}

export class ComposeSnapshots implements Snapshots {
  readonly kinds = ['workspace', 'volume'] as const;
  readonly #placed: (reference: Reference) => Promise<PlacedStack>;

  constructor(placed: (reference: Reference) => Promise<PlacedStack>) {
    this.#placed = placed;
  }

  async capture(reference: Reference, request: CaptureRequest, signal: AbortSignal): Promise<Capture> {
    const stack = await this.#placed(reference);
    const place = placeOf(stack.client.host, stack.name);
    const { isRoot } = await stack.client.engine(signal);
    if (!isRoot) return captured(stack, place, null, signal);
    const reader = await startReading(stack.client, place, request, signal);
    try {
      return await captured(stack, place, reader, signal);
    } catch (error) {
      reader.stop();
      throw error;
    }
  }
}
