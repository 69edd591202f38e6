import { ExtensionError, type Reference } from '../../ports/extension.ts';
import type { Capture, CapturedPart, Snapshots } from '../../ports/snapshot.ts';
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
  return [...parts.slice(0, -1), { part: last.part, open }];
}

export class ComposeSnapshots implements Snapshots {
  readonly kinds = ['workspace', 'volume'] as const;
  readonly #placed: (reference: Reference) => Promise<PlacedStack>;

  constructor(placed: (reference: Reference) => Promise<PlacedStack>) {
    this.#placed = placed;
  }

  async capture(reference: Reference, signal: AbortSignal): Promise<Capture> {
    const { client, name, pauseMaxS } = await this.#placed(reference);
    const place = placeOf(client.host, name);
    const { engine, isRoot } = await client.engine(signal);
    const { imageId, services, volumes, others } = await stackMounts(
      client,
      { name, workspace: place.directory },
      signal,
    );
    if (services.length === 0 || imageId === null)
      throw new ExtensionError('transient', 'The stack has no containers any more.');
    const workspace: CapturedPart = {
      part: { kind: 'workspace' },
      open: async (stop) =>
        isRoot ? packWorkspace(client, place, stop) : packWorkspaceAsRoot(client, place, imageId, stop),
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
    if (pauseMaxS === 0) return capture;
    const hold = await holdStack(client, place, pauseMaxS, signal);
    return { ...capture, parts: untilLast(capture.parts, hold), end: () => hold.release() };
  }
}
