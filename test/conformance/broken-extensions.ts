/** Extensions that are broken in exactly one way, and the case of the suite that must notice. */
import type { Observation } from '../../src/ports/extension.ts';
import { simulatedSpec } from '../standins/simulated-harness.ts';
import { type BrokenExtension, broken } from './broken.ts';
import { BROKEN_INSIDE } from './broken-inside.ts';

const ABSENT: Observation = { kind: 'absent', proof: 'guessed' };
const NEVER = new AbortController().signal;
const SPEC = simulatedSpec();

const LIFE: readonly BrokenExtension[] = [
  broken('destroy does nothing', 'life.make-see-remove', () => ({ destroy: async () => undefined })),
  broken('destroy does nothing and observe covers it up', 'life.make-see-remove', (good) => {
    const destroyed = new Set<string>();
    return {
      destroy: async ({ name }) => void destroyed.add(name),
      observe: async (reference, signal) =>
        destroyed.has(reference.name) ? ABSENT : good.observe(reference, signal),
    };
  }),
  broken('absent without a proof', 'life.make-see-remove', (good) => ({
    async observe(reference, signal) {
      const seen = await good.observe(reference, signal);
      return seen.kind === 'absent' ? { ...seen, proof: '' } : seen;
    },
  })),
  broken('provision makes a second thing', 'life.provision-ten-times', (good) => ({
    provision(request) {
      const faults = [{ verb: 'provision', kind: 'two_under_one_name' }];
      return good.provision({ ...request, spec: { ...request.spec, configuration: { faults } } });
    },
  })),
  broken('destroy takes every epoch along', 'life.other-epoch', (good) => ({
    async destroy(reference, signal) {
      const first = { name: reference.name.replace(/-e\d+$/, ''), epoch: 1, handle: null };
      await good.destroy(first, signal);
      await good.destroy(reference, signal);
    },
  })),
  broken('an unknown name is unknown for ever', 'life.observe-unknown-ten-times', (good) => ({
    async observe(reference, signal) {
      const seen = await good.observe(reference, signal);
      return seen.kind === 'absent' ? { kind: 'unknown', cause: 'not found' } : seen;
    },
  })),
  broken('destroy of the unknown fails', 'life.destroy-unknown-ten-times', (good) => ({
    async destroy(reference, signal) {
      const seen = await good.observe(reference, signal);
      if (seen.kind === 'absent') throw new Error('no such thing');
      await good.destroy(reference, signal);
    },
  })),
  broken('destroy removes everything', 'life.destroy-spares-others', (good) => ({
    async destroy(_reference, signal) {
      const { items } = await good.list(null, signal);
      for (const item of items) await good.destroy({ name: item.name, epoch: 1, handle: null }, signal);
    },
  })),
  broken('destroy of what only starts does not last', 'life.destroy-while-starting', (good) => ({
    async destroy(reference, signal) {
      await good.destroy(reference, signal);
      const spec = {
        ...SPEC,
        configuration: { faults: [{ verb: 'provision', kind: 'late_provision', delayMs: 200 }] },
      };
      const life = { ownDeadlineMs: 60_000, ownDeadlineCapMs: 60_000 };
      good.provision({ ...reference, spec, tags: {}, signal, ...life }).catch(() => undefined); // it comes up later
    },
  })),
  broken('it makes one thing at a time and forgets the others', 'life.many-at-once', (good) => {
    let busy = false;
    return {
      async provision(request) {
        if (busy) return { version: 1, data: { id: 'forgotten' } };
        busy = true;
        return good.provision(request).finally(() => {
          busy = false;
        });
      },
    };
  }),
  broken('it has sessions but says otherwise', 'life.reachability', (good) => ({
    reachability: async (reference) => ({ ...(await good.reachability(reference)), exec: false }),
  })),
  broken('its telemetry is made up', 'declared.host-telemetry', () => ({
    hostTelemetry: async () => JSON.parse('{"load_1m": null}'),
  })),
  broken('the handle holds what JSON loses', 'life.handle-is-plain', (good) => ({
    async provision(request) {
      const handle = await good.provision(request);
      return { ...handle, data: { ...handle.data, at: Number.NaN } };
    },
  })),
  broken('it remembers what it made', 'life.fresh-instance', (good) => {
    const made = new Set<string>();
    return {
      provision: (request) => {
        made.add(request.name);
        return good.provision(request);
      },
      observe: async (reference, signal) =>
        made.has(reference.name) ? good.observe(reference, signal) : ABSENT,
    };
  }),
  broken('destroy needs the handle', 'life.fresh-instance', (good) => ({
    async destroy(reference, signal) {
      if (reference.handle !== null) await good.destroy(reference, signal);
    },
  })),
  broken('it ignores the signal of provision', 'life.aborted', (good) => ({
    provision: (request) => good.provision({ ...request, signal: NEVER }),
  })),
  broken('it ignores the signal of list', 'life.aborted', (good) => ({
    list: (cursor) => good.list(cursor, NEVER),
  })),
  broken('an aborted observe says absent', 'life.aborted', (good) => ({
    observe: async (reference, signal) => (signal.aborted ? ABSENT : good.observe(reference, signal)),
  })),
];

const LIST_AND_TROUBLE: readonly BrokenExtension[] = [
  broken('list drops a thing but says complete', 'list.shows-ours-once', (good) => ({
    async list(cursor, signal) {
      const page = await good.list(cursor, signal);
      return { ...page, items: page.items.slice(0, -1) };
    },
  })),
  broken('list drops its later pages but says complete', 'list.shows-ours-once', (good) => ({
    list: async (cursor, signal) => ({ ...(await good.list(cursor, signal)), nextCursor: null }),
  })),
  broken('list shows a thing twice', 'list.shows-ours-once', (good) => ({
    async list(cursor, signal) {
      const page = await good.list(cursor, signal);
      return { ...page, items: [...page.items, ...page.items] };
    },
  })),
  broken('the cursor loops', 'list.shows-ours-once', (good) => ({
    list: async (_cursor, signal) => ({ ...(await good.list(null, signal)), nextCursor: '100:100' }),
  })),
  broken('list loses the tags', 'list.items-are-usable', (good) => ({
    async list(cursor, signal) {
      const page = await good.list(cursor, signal);
      return { ...page, items: page.items.map((item) => ({ ...item, tags: {} })) };
    },
  })),
  broken('list holds things of others', 'list.ours-only', (good) => ({
    async list(cursor, signal) {
      const page = await good.list(cursor, signal);
      return { ...page, items: [...page.items, { name: 'web-1', tags: {}, ageMs: null, handle: null }] };
    },
  })),
  broken('a lost answer is only transient', 'trouble.lost-answer', (good) => ({
    provision: (request) =>
      good.provision(request).catch((error: { message: string }) => {
        throw Object.assign(error, { kind: 'transient' });
      }),
  })),
  broken('it throws a plain Error', 'trouble.lost-answer', (good) => ({
    provision: (request) =>
      good.provision(request).catch(() => {
        throw new Error('socket hang up');
      }),
  })),
  broken('a failed observe says absent', 'trouble.failed-observe-is-unknown', (good) => ({
    async observe(reference, signal) {
      const seen = await good.observe(reference, signal);
      return seen.kind === 'unknown' ? ABSENT : seen;
    },
  })),
  broken('a failed list is empty', 'trouble.failed-list-is-no-empty-list', (good) => ({
    list: (cursor, signal) =>
      good.list(cursor, signal).catch((error: unknown) => {
        if (signal.aborted) throw error;
        return { items: [], nextCursor: null, complete: true };
      }),
  })),
  broken('a short list says complete', 'trouble.short-list-is-incomplete', (good) => ({
    list: async (cursor, signal) => ({ ...(await good.list(cursor, signal)), complete: true }),
  })),
];

const DECLARED_TIME_MONEY: readonly BrokenExtension[] = [
  broken('it claims snapshots', 'declared.flags-are-methods', (good) => ({
    capabilities: async () => ({ ...(await good.capabilities()), snapshots: true }),
  })),
  broken('it hides a method', 'declared.flags-are-methods', (good) => ({
    capabilities: async () => ({ ...(await good.capabilities()), meter: false }),
  })),
  broken('its manifest knows less', 'declared.manifest-agrees', () => ({ title: 'Something else' })),
  broken('it accepts everything', 'declared.refuses-unsupported', () => ({
    validate: async () => ({ degradations: [] }),
  })),
  broken('it drops a level but accepts it', 'declared.refuses-unsupported', (good) => ({
    capabilities: async () => ({ ...(await good.capabilities()), isolationLevels: ['process'] }),
  })),
  broken('it estimates fractions', 'declared.estimate', () => ({
    estimate: async (_spec, durationMs) => ({
      priceMicroUsdPerHour: 100_000,
      totalMicroUsd: durationMs / 36,
    }),
  })),
  broken('it ignores the own deadline', 'deadline.fires-without-us', (good) => ({
    provision: (request) => good.provision({ ...request, ownDeadlineMs: 600_000 }),
  })),
  broken('it ends things too early', 'deadline.fires-without-us', (good) => ({
    provision: (request) => good.provision({ ...request, ownDeadlineMs: 50 }),
  })),
  broken('moving the deadline does nothing', 'deadline.can-be-moved', () => ({
    setOwnDeadline: async (_reference, remainingMs) => remainingMs,
  })),
  broken('it grants more than the cap', 'deadline.cap-holds', (good) => ({
    async setOwnDeadline(reference, remainingMs, signal) {
      await good.setOwnDeadline!(reference, remainingMs, signal);
      return remainingMs;
    },
  })),
  broken('it forgets the cap', 'deadline.cap-fires', (good) => ({
    provision: (request) => good.provision({ ...request, ownDeadlineCapMs: 600_000 }),
  })),
  broken('the meter runs on', 'meter.grows-and-stops', () => {
    let seconds = 0;
    return {
      async meter() {
        seconds += 1;
        return { seconds, costMicroUsd: seconds };
      },
    };
  }),
];

export const BROKEN_EXTENSIONS: readonly BrokenExtension[] = [
  ...LIFE,
  ...LIST_AND_TROUBLE,
  ...DECLARED_TIME_MONEY,
  ...BROKEN_INSIDE,
];
