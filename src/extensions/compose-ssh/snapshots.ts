import { ExtensionError, type Reference } from '../../ports/extension.ts';
import type { Capture, CapturedPart, CaptureRequest, Snapshots } from '../../ports/snapshot.ts';
import { lookForChanges, type Reading, readCommand } from './changes.ts';
import { placeOf } from './client.ts';
import { type Hold, holdStack } from './hold.ts';
import type { PlacedStack } from './sessions.ts';
import { packVolume, stackMounts } from './volumes.ts';
import { packWorkspace } from './workspace.ts';
import { packWorkspaceAsRoot } from './workspace-as-root.ts';

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

async function letGo(hold: Hold | null, error: unknown): Promise<never> {
  await hold?.release().catch(() => undefined); // `error` came first
  throw error;
}

export class ComposeSnapshots implements Snapshots {
  readonly kinds = ['workspace', 'volume'] as const;
  readonly #placed: (reference: Reference) => Promise<PlacedStack>;

  constructor(placed: (reference: Reference) => Promise<PlacedStack>) {
    this.#placed = placed;
  }

  async capture(reference: Reference, request: CaptureRequest, signal: AbortSignal): Promise<Capture> {
    const { client, name, pauseMaxS } = await this.#placed(reference);
    const place = placeOf(client.host, name);
    const { engine, isRoot } = await client.engine(signal);
    const look = async (): Promise<Reading> =>
      isRoot ? lookForChanges(client, place, request, signal) : 'plain';
    // A listing may be older than what is read after it; what changed is of the moment at which all stands still.
    const isHeld = pauseMaxS > 0;
    const [mounts, early] = await Promise.all([
      stackMounts(client, { name, workspace: place.directory }, signal),
      isHeld && request.baseId !== null ? null : look(),
    ]);
    const { imageId, services, volumes, others } = mounts;
    if (services.length === 0 || imageId === null)
      throw new ExtensionError('transient', 'The stack has no containers any more.');
    const hold = isHeld ? await holdStack(client, place, pauseMaxS, signal) : null;
    const reading = early ?? (await look().catch((error: unknown) => letGo(hold, error)));
    const workspace: CapturedPart = {
      part: { kind: 'workspace' },
      isChanges: reading === 'changes',
      open: async (stop) =>
        isRoot
          ? packWorkspace(client, readCommand(client, place, request, reading), stop)
          : packWorkspaceAsRoot(client, place, imageId, stop),
    };
    const parts = volumes.map(
      (mount): CapturedPart => ({
        part: { kind: 'volume', name: mount.volume, service: mount.service },
        open: async (stop) => packVolume(client, mount, stop),
      }),
    );
    const capture: Capture = {
      engine,
      services,
      parts: [workspace, ...parts],
      notCaptured: ["what services wrote into their containers' own layers", ...others],
    };
    if (hold === null) return capture;
    return { ...capture, parts: untilLast(capture.parts, hold), end: () => hold.release() };
  }
}
