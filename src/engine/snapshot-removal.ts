/** Removing snapshots: what was asked to go, what has expired, and what a crash left. */
import { LIMITS } from '../domain/limits.ts';
import { isSnapshotId } from '../domain/snapshot/manifest.ts';
import type { EngineContext } from './context.ts';

/** The row first: without it, a file is removed at the next start at the latest. */
async function removeOne(engine: EngineContext, id: string): Promise<void> {
  const free = await engine.store.transaction((transaction) => transaction.deleteSnapshot(id));
  for (const each of free) await engine.snapshots.remove(each);
}

/** What extensions unpacked of snapshots that are gone. A backend that fails keeps it until the next sweep. Safe to repeat. */
export async function removeSnapshotCopies({ extensions, store, log }: EngineContext): Promise<void> {
  const isKept = async (id: string) => (await store.getSnapshot(id)) !== null;
  for (const { id } of extensions.summaries()) {
    try {
      await (await extensions.load(id)).snapshots?.tidy?.(isKept);
    } catch (error) {
      log.error('copies of snapshots could not be removed', { extension_id: id, cause: String(error) });
    }
  }
}

/** One that others build on looks missing from now on, and goes with the last of them. Safe to repeat. */
export async function removeSnapshot(engine: EngineContext, id: string): Promise<void> {
  await removeOne(engine, id);
  await removeSnapshotCopies(engine);
}

export async function removeExpiredSnapshots(engine: EngineContext): Promise<void> {
  const expired = await engine.store.listExpiredSnapshots(engine.clock.nowMs(), LIMITS.snapshotExpiryBatch);
  for (const { id } of expired) await removeOne(engine, id);
  if (expired.length > 0) await removeSnapshotCopies(engine);
}

/** What a crash left. Only before anything else of this process works on the home. */
export async function removeSnapshotLeftovers({ snapshots, store }: EngineContext): Promise<void> {
  await snapshots.removeLeftovers(
    async (id) => isSnapshotId(id) && (await store.getSnapshotFile(id)) !== null,
  );
}
