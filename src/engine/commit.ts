import { SandboxerError } from '../domain/errors.ts';
import { venueKey } from '../domain/routing/venue.ts';
import type { SandboxRecord, StoreTransaction } from '../ports/store.ts';
import type { EngineContext } from './context.ts';
import { applyChange, type Change, holdsSlot } from './record.ts';
import { takeSlot, venueOf } from './slots.ts';

function notFound(id: string): SandboxerError {
  return new SandboxerError('not_found', `There is no sandbox ${id}.`, {
    nextStep: 'List yours with: sandboxer list',
  });
}

/** A record with the slot it shall hold. Being removed takes none, and gives none back before it is over. */
function withSlot(before: SandboxRecord | null, after: SandboxRecord): SandboxRecord {
  const held = before?.slot ?? null;
  const slot = !holdsSlot(after) ? null : after.desired === 'present' ? venueKey(venueOf(after)) : held;
  return { ...after, slot };
}

async function moveSlot(
  engine: EngineContext,
  transaction: StoreTransaction,
  held: string | null,
  needed: string | null,
): Promise<void> {
  if (held === needed) return;
  if (held !== null) await transaction.releaseSlot(held);
  if (needed !== null) await takeSlot(engine, transaction, needed);
}

/** The first of the drafts whose venue has a slot, which is then taken. Throws the last refusal where none has. */
async function reserve(
  engine: EngineContext,
  transaction: StoreTransaction,
  drafts: readonly SandboxRecord[],
): Promise<SandboxRecord> {
  for (const [index, draft] of drafts.entries()) {
    try {
      await takeSlot(engine, transaction, venueKey(venueOf(draft)));
      return draft;
    } catch (error) {
      if (!(error instanceof SandboxerError) || index === drafts.length - 1) throw error;
    }
  }
  throw new RangeError('a record needs a draft');
}

export interface CommitOptions {
  /** What belongs into the same transaction; false when there is nothing to do. */
  readonly alongside?: (transaction: StoreTransaction) => Promise<boolean>;
  /**
   * Called once with a record that was written, as soon as its backend may be asked for what it intends. Where the
   * backend ends with the machine that is before the commit is on the disk, and so before this resolves: a power
   * cut that takes the intent takes the effect along. Must not throw.
   */
  readonly begin?: (record: SandboxRecord) => void;
}

const NOTHING_ELSE = async () => true;

interface Written {
  readonly before: SandboxRecord | null;
  readonly record: SandboxRecord;
  readonly events: Parameters<StoreTransaction['appendEvents']>[2];
  readonly nowMs: number;
}

/** Commits what `work` writes, begins it as early as its backend allows, and tells of it once it is on the disk. */
async function commit<Result extends Written | null>(
  engine: EngineContext,
  begin: CommitOptions['begin'],
  work: (transaction: StoreTransaction) => Promise<Result>,
): Promise<Result> {
  let hasBegun = false;
  const beginOnce = (written: Result) => {
    if (hasBegun || written === null || written.record === written.before) return;
    hasBegun = true;
    begin?.(written.record);
  };
  const beginEarly = (written: Result) => {
    if (written !== null && engine.extensions.endsWithMachine(written.record.extensionId)) beginOnce(written);
  };
  const written = await engine.store.transaction(work, begin === undefined ? undefined : beginEarly);
  if (written !== null && written.record !== written.before) publish(engine, written);
  beginOnce(written);
  return written;
}

/**
 * Writes a new record with its first events: the first draft whose venue still has a slot. Resolves once durable.
 * Null when `alongside` says that there is nothing to do.
 */
export async function commitNew(
  engine: EngineContext,
  drafts: readonly SandboxRecord[],
  change: Change,
  { alongside = NOTHING_ELSE, begin }: CommitOptions = {},
): Promise<SandboxRecord | null> {
  const nowMs = engine.clock.nowMs();
  const written = await commit(engine, begin, async (transaction) => {
    if (!(await alongside(transaction))) return null;
    const draft = await reserve(engine, transaction, drafts);
    const { record: changed, events } = applyChange(draft, change, nowMs);
    const record = withSlot(null, changed);
    await transaction.insertSandbox(record);
    await transaction.appendEvents(record, nowMs, events);
    return { before: null, record, events, nowMs };
  });
  return written?.record ?? null;
}

/**
 * Changes a record in one durable transaction. `decide` sees the current record and answers the change, or null
 * for none; what it throws rejects. Resolves with the record as it then is.
 */
export async function commitChange(
  engine: EngineContext,
  id: string,
  decide: (current: SandboxRecord) => Change | null,
  { alongside = NOTHING_ELSE, begin }: CommitOptions = {},
): Promise<SandboxRecord> {
  const { record } = await commit(engine, begin, async (transaction) => {
    const current = await transaction.getSandbox(id);
    if (current === null) throw notFound(id);
    if (!(await alongside(transaction))) return { before: current, record: current, events: [], nowMs: 0 };
    const change = decide(current);
    if (change === null) return { before: current, record: current, events: [], nowMs: 0 };
    const nowMs = engine.clock.nowMs();
    const { record: changed, events } = applyChange(current, change, nowMs);
    const record = withSlot(current, changed);
    await moveSlot(engine, transaction, current.slot, record.slot);
    if (!(await transaction.updateSandbox(record))) {
      throw new SandboxerError('state_conflict', `The sandbox ${id} was changed by another process.`);
    }
    await transaction.appendEvents(record, nowMs, events);
    return { before: current, record: { ...record, version: record.version + 1 }, events, nowMs };
  });
  return record;
}

function publish(engine: EngineContext, { before, record, events, nowMs: atMs }: Written): void {
  const first = record.eventSequence - events.length + 1;
  engine.bus.committed({
    before,
    record,
    events: events.map((event, index) => ({ ...event, sequence: first + index, atMs })),
  });
}

export async function requireSandbox(engine: EngineContext, id: string): Promise<SandboxRecord> {
  const record = await engine.store.getSandbox(id);
  if (record === null) throw notFound(id);
  return record;
}
