import { type ExpiryCause, expiryCause } from '../domain/deadline/deadline.ts';
import { LIMITS } from '../domain/limits.ts';
import type { SandboxRecord } from '../ports/store.ts';
import { beginExpiry } from './begin.ts';
import { commitChange } from './commit.ts';
import type { EngineContext } from './context.ts';
import { observe } from './observe.ts';
import { referenceOf } from './step.ts';

/** What the backend says about activity, folded into the record's view. */
async function currentActivity(engine: EngineContext, record: SandboxRecord) {
  const extension = await engine.extensions.load(record.extensionId);
  const seen = await observe(engine, extension, referenceOf(record), new AbortController().signal);
  if (seen.kind === 'unknown') return 'unknown';
  if (seen.kind !== 'present' || seen.activity === null) return null;
  const { commandsRunning, idleMs } = seen.activity;
  return { commandsRunning, lastActivityAtMs: engine.clock.nowMs() - (commandsRunning > 0 ? 0 : idleMs) };
}

/** A backend that does not say is no proof of idleness; the time to live still ends it. */
function lookAgainSoon(record: SandboxRecord, nowMs: number): number {
  return nowMs - (record.idleReapMs ?? 0) + LIMITS.idleRecheckMs;
}

/** Why the record is over now, or null. Asks the backend only where idleness is what would end it. */
export async function whyOver(
  engine: EngineContext,
  record: SandboxRecord,
): Promise<{ readonly cause: ExpiryCause | null; readonly lastActivityAtMs: number | null }> {
  const nowMs = engine.clock.nowMs();
  const cause = expiryCause({ ...record, commandsRunning: 0 }, nowMs);
  if (cause !== 'idle') return { cause, lastActivityAtMs: record.lastActivityAtMs };
  if (engine.captures.isRunning(record.id)) return { cause: null, lastActivityAtMs: nowMs };
  const activity = await currentActivity(engine, record);
  if (activity === null) return { cause, lastActivityAtMs: record.lastActivityAtMs };
  if (activity === 'unknown') return { cause: null, lastActivityAtMs: lookAgainSoon(record, nowMs) };
  const lastActivityAtMs = Math.max(activity.lastActivityAtMs, record.lastActivityAtMs ?? 0);
  const facts = { ...record, lastActivityAtMs, commandsRunning: activity.commandsRunning };
  return { cause: expiryCause(facts, engine.clock.nowMs()), lastActivityAtMs };
}

/**
 * Ends a record whose time has come: state `expired`, and its destroy run, in one commit, and then `begin`s that.
 * It may live on where it was used while idle, or was ended by somebody else.
 */
export async function expireIfOver(
  engine: EngineContext,
  record: SandboxRecord,
  begin: (expired: SandboxRecord) => void,
): Promise<void> {
  const { cause, lastActivityAtMs } = await whyOver(engine, record);
  const decide = (current: SandboxRecord) => {
    if (current.version !== record.version) return null;
    return cause === null ? { patch: { lastActivityAtMs } } : beginExpiry(engine, cause);
  };
  await commitChange(engine, record.id, decide, cause === null ? {} : { begin });
}
