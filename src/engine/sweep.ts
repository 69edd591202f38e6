import { parseBackendName } from '../domain/ids.ts';
import { LIMITS } from '../domain/limits.ts';
import { judgeStray, killBudget, type StrayAction } from '../domain/sandbox/stray.ts';
import type { Extension, Listed } from '../ports/extension.ts';
import type { StrayRecord } from '../ports/store.ts';
import type { EngineContext } from './context.ts';
import { removeExpiredSnapshots, removeSnapshotCopies } from './snapshot-removal.ts';

export interface SweepItem {
  readonly extensionId: string;
  readonly name: string;
  readonly action: StrayAction['action'];
  readonly reason: string;
  readonly killed: boolean;
}

export interface SweepReport {
  readonly items: readonly SweepItem[];
  /** A sentence when the sweep stopped itself, or could not see everything. */
  readonly alarm: string | null;
}

interface FullList {
  readonly items: readonly Listed[];
  readonly complete: boolean;
}

/** Every page of a backend's list. A failure, a looping cursor or an endless list makes it incomplete. */
async function listEverything(extension: Extension, signal: AbortSignal): Promise<FullList> {
  const items = new Map<string, Listed>();
  const cursors = new Set<string>();
  let complete = true;
  let cursor: string | null = null;
  try {
    for (let page = 0; page < LIMITS.sweepPagesMax; page += 1) {
      const answer = await extension.list(cursor, signal);
      for (const item of answer.items) items.set(item.name, item);
      complete &&= answer.complete;
      cursor = answer.nextCursor;
      if (cursor === null) return { items: [...items.values()], complete };
      if (cursors.has(cursor)) break;
      cursors.add(cursor);
    }
  } catch {
    // a list that fails is a list that is not complete; the caller says so
  }
  return { items: [...items.values()], complete: false };
}

/** Finds things of ours that no record holds, and removes them by the rules of `judgeStray`. */
export class Sweeper {
  readonly #engine: EngineContext;
  /** Extensions that one sweep of this process has only reported on. */
  readonly #reported = new Set<string>();

  constructor(engine: EngineContext) {
    this.#engine = engine;
  }

  /**
   * One sweep over one backend; without `apply` it only reports. `killsMax` is the bound of somebody who has looked at the
   * report; a sweep by itself stops much earlier.
   */
  async sweep(
    extension: Extension,
    apply: boolean,
    signal: AbortSignal,
    killsMax?: number,
  ): Promise<SweepReport> {
    const { store, log } = this.#engine;
    const list = await listEverything(extension, signal);
    const strays = new Map((await store.listStrays(extension.id)).map((stray) => [stray.name, stray]));
    const items: SweepItem[] = [];
    for (const [index, listed] of list.items.entries()) {
      if (index % LIMITS.sweepBatch === 0) await this.#engine.clock.sleep(0, signal); // a long list stops nobody else
      items.push({ ...(await this.#judge(extension, listed, list.complete, strays)), killed: false });
    }
    await this.#remember(extension.id, items, strays);
    const kills = items.filter((item) => item.action === 'kill');
    const budget = killsMax ?? killBudget(Math.max(await store.countLive(), list.items.length));
    const incomplete = list.complete
      ? null
      : `The list of ${extension.id} was not complete; nothing was removed.`;
    const alarm =
      kills.length > budget
        ? `${kills.length} strays at ${extension.id}, more than a sweep may remove (${budget}); look at them with: sandboxer inspect stale`
        : incomplete;
    if (alarm !== null) log.warn('orphan sweep', { extension_id: extension.id, why: alarm });
    if (!apply || alarm !== null) return { items, alarm };
    return { items: await this.#kill(extension, items, signal), alarm };
  }

  /** Sweeps every installed extension, again and again, until the signal aborts. The first time each only reports. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, extensions, settings } = this.#engine;
    await clock.sleep(LIMITS.firstSweepAfterMs, signal).catch(() => undefined);
    while (!signal.aborted) {
      for (const { id } of extensions.summaries()) await this.#tryToSweep(id, signal);
      await this.#tryToRemoveSnapshots();
      await clock.sleep(settings.sweepIntervalMs, signal).catch(() => undefined);
    }
  }

  async #tryToSweep(extensionId: string, signal: AbortSignal): Promise<void> {
    try {
      const extension = await this.#engine.extensions.load(extensionId);
      await this.sweep(extension, this.#reported.has(extensionId), signal);
      this.#reported.add(extensionId);
    } catch (error) {
      if (signal.aborted) return;
      this.#engine.log.error('orphan sweep failed', { extension_id: extensionId, cause: String(error) });
    }
  }

  async #tryToRemoveSnapshots(): Promise<void> {
    try {
      await removeExpiredSnapshots(this.#engine);
      await removeSnapshotCopies(this.#engine); // also what a crash or a failure left of others
    } catch (error) {
      this.#engine.log.error('expired snapshots could not be removed', { cause: String(error) });
    }
  }

  async #judge(
    extension: Extension,
    listed: Listed,
    listComplete: boolean,
    strays: ReadonlyMap<string, StrayRecord>,
  ): Promise<Omit<SweepItem, 'killed'>> {
    const { store, clock, settings } = this.#engine;
    const identity = parseBackendName(listed.name);
    const record = identity === null ? null : await store.getSandbox(identity.sandboxId);
    const { action, reason } = judgeStray({
      inOurSpace: identity !== null,
      record:
        record === null
          ? null
          : { over: record.desired === 'absent' && record.run === null, epoch: record.epoch },
      epoch: identity?.epoch ?? 0,
      ageMs: listed.ageMs,
      listComplete,
      firstSeenAtMs: strays.get(listed.name)?.firstSeenAtMs ?? null,
      nowMs: clock.nowMs(),
      graceMs: settings.sweepGraceMs,
      sightingGapMs: settings.sweepSightingGapMs,
    });
    return { extensionId: extension.id, name: listed.name, action, reason };
  }

  async #remember(
    extensionId: string,
    items: readonly SweepItem[],
    strays: ReadonlyMap<string, StrayRecord>,
  ): Promise<void> {
    const suspicious = new Set(items.filter(({ action }) => action !== 'leave').map(({ name }) => name));
    const fresh = [...suspicious].filter((name) => !strays.has(name));
    const settled = [...strays.keys()].filter((name) => !suspicious.has(name));
    if (fresh.length === 0 && settled.length === 0) return;
    const nowMs = this.#engine.clock.nowMs();
    await this.#engine.store.transaction(async (transaction) => {
      for (const name of fresh) await transaction.putStray({ extensionId, name, firstSeenAtMs: nowMs });
      for (const name of settled) await transaction.deleteStray(extensionId, name);
    });
  }

  async #kill(extension: Extension, items: readonly SweepItem[], signal: AbortSignal): Promise<SweepItem[]> {
    const results: SweepItem[] = [];
    for (const item of items) {
      if (item.action !== 'kill') {
        results.push(item);
        continue;
      }
      const epoch = parseBackendName(item.name)!.epoch;
      try {
        await extension.destroy({ name: item.name, epoch, handle: null }, signal);
        results.push({ ...item, killed: true });
        this.#engine.log.warn('removed a stray', {
          extension_id: extension.id,
          name: item.name,
          why: item.reason,
        });
      } catch (error) {
        this.#engine.log.error('a stray could not be removed', { name: item.name, cause: String(error) });
        results.push(item);
      }
    }
    return results;
  }
}
