/** Every fault can be brought about by configuration, is counted, and surfaces as what the contract knows. */
import { describe, expect, it } from 'vitest';
import {
  outcome,
  type SimulatedFixture,
  simulatedFixture,
} from '../../../test/standins/simulated-fixture.ts';
import { createSystemClock } from '../../adapters/clock/system-clock.ts';
import type { ListPage } from '../../ports/extension.ts';
import { FAULT_KINDS, type FaultKind, type FaultRuleInput } from './config.ts';

type Check = (at: SimulatedFixture, arm: (rule?: Partial<FaultRuleInput>) => void) => Promise<void>;
interface Row {
  readonly verb: FaultRuleInput['verb'];
  readonly check: Check;
}

const pause = (durationMs: number) => createSystemClock().sleep(durationMs);

/** The provision fails as `kind`; afterwards the truth holds `count` things of that name. */
const provisionFails = (kind: string, count: number): Row => ({
  verb: 'provision',
  async check(at, arm) {
    arm();
    const reference = at.reference();
    expect(await outcome(at.provision(reference.name))).toBe(kind);
    expect(at.truth.things().length).toBe(count);
    expect(await at.look(reference)).toBe(count === 0 ? 'absent' : 'present:running');
  },
});

const observeIsUnknown: Row = {
  verb: 'observe',
  async check(at, arm) {
    const made = await at.made();
    arm({ times: 1 });
    expect(await at.look(made)).toBe('unknown');
    expect(await at.look(made)).toBe('present:running');
  },
};

const listFails: Row = {
  verb: 'list',
  async check(at, arm) {
    await at.made();
    arm();
    expect(await outcome(at.extension.list(null, at.signal))).toBe('transient');
  },
};

const listIs = (complete: boolean, count: number): Row => ({
  verb: 'list',
  async check(at, arm) {
    await at.made();
    arm();
    const page = await at.extension.list(null, at.signal);
    expect({ complete: page.complete, count: page.items.length, next: page.nextCursor }).toEqual({
      complete,
      count,
      next: null,
    });
  },
});

/** After a provision under the fault, observe says `first`, and `later` after 120 ms. */
const livesAs = (first: string, later: string, delayMs: number | null = null): Row => ({
  verb: 'provision',
  async check(at, arm) {
    arm({ delayMs });
    const reference = at.reference();
    await outcome(at.provision(reference.name));
    expect(await at.look(reference)).toBe(first);
    await pause(120);
    expect(await at.look(reference)).toBe(later);
  },
});

/** After a destroy under the fault, observe says `first`, and `later` after 120 ms. */
const endsAs = (kind: string, first: string, later: string, delayMs: number | null = null): Row => ({
  verb: 'destroy',
  async check(at, arm) {
    const made = await at.made();
    arm({ delayMs });
    expect(await outcome(at.destroy(made))).toBe(kind);
    expect(await at.look(made)).toBe(first);
    await pause(120);
    expect(await at.look(made)).toBe(later);
  },
});

const echoes = (pieces: string[]): Row => ({
  verb: 'exec',
  async check(at, arm) {
    const made = await at.made();
    arm();
    expect(await at.echo(made, 'ü')).toEqual(pieces);
  },
});

const ROWS: Readonly<Record<FaultKind, Row>> = {
  timeout_before: provisionFails('ambiguous', 0),
  timeout_after: provisionFails('ambiguous', 1),
  reset_before: endsAs('ambiguous', 'present:running', 'present:running'),
  reset_after: provisionFails('ambiguous', 1),
  slow: observeIsUnknown,
  drip: observeIsUnknown,
  doubled: livesAs('present:running', 'present:running'),
  error_before: provisionFails('ambiguous', 0),
  error_after: provisionFails('ambiguous', 1),
  false_success: livesAs('absent', 'absent'),
  conflict_own_name: provisionFails('ok', 1),
  conflict_destroy: endsAs('transient', 'present:running', 'present:running'),
  unauthenticated: observeIsUnknown,
  forbidden: provisionFails('forbidden', 0),
  throttled: provisionFails('throttled', 0),
  html_503: provisionFails('ambiguous', 0),
  outage: observeIsUnknown,
  quota: provisionFails('quota', 0),
  capacity: provisionFails('capacity', 0),
  truncated_body: provisionFails('ambiguous', 1),
  garbage_body: observeIsUnknown,
  html_body: listFails,
  huge_body: listFails,
  deep_nesting: listFails,
  wrong_types: listFails,
  control_characters: observeIsUnknown,
  echoed_credentials: {
    verb: 'observe',
    async check(at, arm) {
      arm();
      expect(JSON.stringify(await at.observe(at.reference()))).not.toMatch(/Bearer|sk-simulated/);
    },
  },
  eventual: livesAs('unknown', 'present:running', 100),
  observe_stale: {
    verb: 'observe',
    async check(at, arm) {
      const made = await at.made();
      await at.destroy(made);
      arm({ delayMs: 1_000 });
      expect(await at.look(made)).toBe('unknown');
    },
  },
  list_stale: listIs(true, 0),
  list_flapping: listIs(true, 0),
  list_page_missing: listIs(false, 0),
  list_loop: {
    verb: 'list',
    async check(at, arm) {
      await at.made();
      arm();
      const complete: boolean[] = [];
      let cursor: string | null = null;
      do {
        const page: ListPage = await at.extension.list(cursor, at.signal);
        complete.push(page.complete);
        cursor = page.nextCursor;
      } while (cursor !== null && complete.length < 10);
      expect(complete).toEqual([true, false]);
    },
  },
  list_other_tenants: {
    verb: 'list',
    async check(at, arm) {
      const made = await at.made();
      arm();
      const { items } = await at.extension.list(null, at.signal);
      const strangers = items.filter((item) => item.tags.owner !== 'us');
      expect(items.some((item) => item.name === made.name)).toBe(true);
      expect(strangers.map((item) => item.name)).toEqual(['sbx-0ther00000']);
    },
  },
  id_reused: {
    verb: 'provision',
    async check(at, arm) {
      const old = await at.made();
      await at.destroy(old);
      arm();
      const now = await at.made();
      expect(now.handle).toEqual(old.handle);
      expect(await at.look(old)).toBe('absent');
      await at.destroy(old);
      expect(await at.look(now)).toBe('present:running');
    },
  },
  two_under_one_name: {
    verb: 'provision',
    async check(at, arm) {
      arm({ times: 1 });
      const made = await at.made();
      expect(at.truth.things().length).toBe(2);
      await at.destroy(made);
      expect(at.truth.things()).toEqual([]);
    },
  },
  tags_lost: {
    verb: 'provision',
    async check(at, arm) {
      arm();
      await at.made();
      expect((await at.extension.list(null, at.signal)).items.map((item) => item.tags)).toEqual([{}]);
    },
  },
  tags_late: {
    verb: 'provision',
    async check(at, arm) {
      arm({ delayMs: 100 });
      await at.made();
      expect((await at.extension.list(null, at.signal)).items.map((item) => item.tags)).toEqual([{}]);
      await pause(120);
      expect((await at.extension.list(null, at.signal)).items.map((item) => item.tags)).toEqual([
        { owner: 'us' },
      ]);
    },
  },
  accepted_forever: livesAs('present:starting', 'present:starting'),
  late_provision: livesAs('absent', 'present:running', 250),
  dies_at_once: livesAs('present:dead', 'present:dead'),
  dies_later: livesAs('present:running', 'present:dead', 100),
  early_own_ttl: livesAs('present:running', 'absent', 100),
  stuck_destroying: endsAs('ok', 'present:stopping', 'present:stopping'),
  destroy_lies: endsAs('ok', 'present:running', 'present:running'),
  resurrects: endsAs('ok', 'absent', 'present:running', 100),
  output_lost: echoes([]),
  output_doubled: echoes(['\u00c3\u00bc\n', '\u00c3\u00bc\n']),
  output_split: echoes(['\u00c3', '\u00bc', '\n']),
  price_change: {
    verb: 'provision',
    async check(at, arm) {
      arm({ factor: 3 });
      await at.made();
      expect(at.truth.bill().map((line) => line.priceMicroUsdPerHour)).toEqual([300_000]);
    },
  },
  usage_late: {
    verb: 'meter',
    async check(at, arm) {
      const made = await at.made();
      arm();
      expect((await at.extension.meter!(made, at.signal)).seconds).toBe(0);
    },
  },
  usage_negative: {
    verb: 'meter',
    async check(at, arm) {
      const made = await at.made();
      arm();
      expect(await outcome(at.extension.meter!(made, at.signal))).toBe('bug');
    },
  },
};

describe('each fault surfaces as what the contract knows, and is counted:', () => {
  it.concurrent.for(FAULT_KINDS)('%s', async (kind) => {
    const at = await simulatedFixture();
    const { verb, check } = ROWS[kind];
    await check(at, (rule = {}) => at.arm({ verb, kind, ...rule }));
    expect(at.truth.injected()[kind]).toBeGreaterThan(0);
    await at.close();
  });
});
