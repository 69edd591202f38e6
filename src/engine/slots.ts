/** Slots: how many sandboxes a venue may hold at once. Taken and given back inside the transaction that needs it. */
import { SandboxerError } from '../domain/errors.ts';
import { parseVenue, type Venue, venueKey } from '../domain/routing/venue.ts';
import type { SandboxRecord, StoreTransaction } from '../ports/store.ts';
import type { EngineContext } from './context.ts';

export function venueOf(record: Pick<SandboxRecord, 'extensionId' | 'spec'>): Venue {
  return { extensionId: record.extensionId, host: record.spec.placement.host };
}

/** The slots of a host as it is registered at this moment; throws where nothing new may be placed there. */
async function hostSlots(
  engine: EngineContext,
  transaction: StoreTransaction,
  name: string,
): Promise<number> {
  const stored = await transaction.getHost(name);
  const entry = engine.hosts.resolve(name, stored);
  if (entry === null) {
    throw new SandboxerError('no_candidate', `The host ${name} is not registered any more.`, {
      nextStep: 'See which there are: sandboxer hosts list',
    });
  }
  if (entry.host.draining) {
    throw new SandboxerError('no_candidate', `The host ${name} is draining; nothing new is placed there.`, {
      nextStep: `Let it take work again: sandboxer hosts drain ${name} --undo`,
    });
  }
  if (entry.source === 'environment' && stored === null) {
    await transaction.putHost({ host: entry.host, origin: 'ad_hoc' });
  }
  return entry.host.slots;
}

/** Takes a slot, or throws `quota_exceeded`, or `no_candidate` where the host is gone or draining. */
export async function takeSlot(
  engine: EngineContext,
  transaction: StoreTransaction,
  scope: string,
): Promise<void> {
  const { host } = parseVenue(scope);
  const limit =
    host === null ? engine.settings.slotsPerExtension : await hostSlots(engine, transaction, host);
  if (await transaction.takeSlot(scope, limit)) return;
  throw new SandboxerError('quota_exceeded', `All ${limit} slots of ${scope} are taken.`, {
    nextStep:
      host === null
        ? 'Destroy a sandbox, or raise SANDBOXER_SLOTS.'
        : `Destroy a sandbox there, or give ${host} more slots.`,
  });
}

/** What is free at a venue now; another request may take it before this one does. */
export async function slotsFree(engine: EngineContext, venue: Venue, limit: number): Promise<number> {
  return limit - (await engine.store.slotsUsed(venueKey(venue)));
}
