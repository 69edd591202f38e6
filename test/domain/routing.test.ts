/** Routing is pure: the same facts, the same order, and a reason for each that is left out. */
import { describe, expect, it } from 'vitest';
import { type CandidateFacts, decideRoute, type RouteRequest } from '../../src/domain/routing/route.ts';
import { judgeStray, killBudget, type StrayFacts } from '../../src/domain/sandbox/stray.ts';

const candidate = (extensionId: string, change: Partial<CandidateFacts> = {}): CandidateFacts => ({
  extensionId,
  host: null,
  leftOutReason: null,
  placementRank: 0,
  loadPerCpu: null,
  installed: true,
  selfHosted: false,
  unhealthyReason: null,
  unsupportedReason: null,
  coolingUntilMs: null,
  slotsFree: 10,
  priceMicroUsdPerHour: 100_000,
  totalMicroUsd: 100_000,
  readyMs: null,
  ...change,
});
const request = (change: Partial<RouteRequest> = {}): RouteRequest => ({
  strategy: 'prefer-self-hosted',
  maxMicroUsdPerHour: null,
  forceCloud: false,
  nowMs: 1_000,
  ...change,
});

describe('a route', () => {
  const local = candidate('ext.a', { selfHosted: true, priceMicroUsdPerHour: 0, totalMicroUsd: 0 });
  const cheap = candidate('ext.b', { totalMicroUsd: 5, readyMs: 900 });
  const fast = candidate('ext.c', { totalMicroUsd: 9, readyMs: 100 });
  const orders: [string, RouteRequest, string[]][] = [
    ['prefers self-hosted', request(), ['ext.a', 'ext.b', 'ext.c']],
    ['takes the lowest cost', request({ strategy: 'lowest-cost' }), ['ext.a', 'ext.b', 'ext.c']],
    [
      'takes the lowest measured latency',
      request({ strategy: 'lowest-latency' }),
      ['ext.c', 'ext.b', 'ext.a'],
    ],
    ['skips self-hosted when told to', request({ forceCloud: true }), ['ext.b', 'ext.c']],
    ['holds the price limit', request({ maxMicroUsdPerHour: 50_000 }), ['ext.a']],
  ];
  for (const [what, asked, order] of orders) {
    it(what, () =>
      expect(
        decideRoute(
          [cheap, fast, local].sort((l, r) => (l.extensionId < r.extensionId ? -1 : 1)),
          asked,
        ).order,
      ).toEqual(order),
    );
  }

  const exclusions: [string, Partial<CandidateFacts>, RegExp][] = [
    ['not installed', { installed: false }, /no such extension/],
    ['unhealthy', { unhealthyReason: 'the engine is stopped' }, /the engine is stopped/],
    ['unsupported', { unsupportedReason: 'it has no vm' }, /has no vm/],
    ['cooling down', { coolingUntilMs: 6_000 }, /cooling down after failures for 5 s/],
    ['full', { slotsFree: 0 }, /all slots/],
  ];
  for (const [what, change, reason] of exclusions) {
    it(`leaves out what is ${what}, and says so`, () => {
      const decision = decideRoute([candidate('ext.x', change)], request());
      expect(decision.order).toEqual([]);
      expect(decision.candidates[0]).toMatchObject({
        chosen: false,
        rank: null,
        reason: expect.stringMatching(reason),
      });
    });
  }

  it('forgives after the cooling time', () => {
    expect(decideRoute([candidate('ext.x', { coolingUntilMs: 999 })], request()).order).toEqual(['ext.x']);
  });
});

describe('the sweep (P8, T10)', () => {
  const stray: StrayFacts = {
    inOurSpace: true,
    record: null,
    epoch: 1,
    ageMs: 1_000_000,
    listComplete: true,
    firstSeenAtMs: 0,
    nowMs: 100_000,
    graceMs: 600_000,
    sightingGapMs: 60_000,
  };
  const rows: [string, Partial<StrayFacts>, 'leave' | 'watch' | 'kill'][] = [
    ['an old stray, seen twice', {}, 'kill'],
    ['a name that is not ours', { inOurSpace: false }, 'leave'],
    ['a live record', { record: { over: false, epoch: 1 } }, 'leave'],
    ['a live record of a later incarnation', { record: { over: false, epoch: 2 } }, 'kill'],
    ['a live record, the thing is newer', { epoch: 2, record: { over: false, epoch: 1 } }, 'leave'],
    ['a record that is over', { record: { over: true, epoch: 1 } }, 'kill'],
    ['a record that is over, thing young', { record: { over: true, epoch: 1 }, ageMs: 5 }, 'kill'],
    ['no record, younger than the grace', { ageMs: 5 }, 'watch'],
    ['no record, age unknown', { ageMs: null }, 'watch'],
    ['no record, age unknown, seen for longer than the grace', { ageMs: null, nowMs: 700_000 }, 'kill'],
    ['a list that is not complete', { listComplete: false }, 'watch'],
    ['seen for the first time', { firstSeenAtMs: null }, 'watch'],
    ['seen twice, too close together', { firstSeenAtMs: 99_000 }, 'watch'],
  ];
  for (const [what, change, action] of rows) {
    it(`${what}: ${action}`, () => expect(judgeStray({ ...stray, ...change }).action).toBe(action));
  }

  it('kills at most 50, or a tenth of what lives', () => {
    expect([0, 5, 100, 10_000].map(killBudget)).toEqual([1, 1, 10, 50]);
  });
});
