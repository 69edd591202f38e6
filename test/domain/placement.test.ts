/** Which hosts come into question, in which order: pure, so that the same facts give the same placement. */
import { describe, expect, it } from 'vitest';
import { adHocHost, hostText, parseDestination } from '../../src/domain/host/host.ts';
import { type PlacementRequest, placeHosts } from '../../src/domain/routing/placement.ts';
import { type CandidateFacts, decideRoute, passOverFirst } from '../../src/domain/routing/route.ts';
import { parseVenue, venueKey } from '../../src/domain/routing/venue.ts';

const OTHER = 'the request names another host';
const UNKNOWN = 'is not registered on this installation';

describe('the hosts in question', () => {
  const registered = ['a', 'b', 'c'];
  const none = { asked: null, prefer: [], fallback: [], registered };
  const rows: [string, PlacementRequest, [string, number, string | null][]][] = [
    [
      'all that are registered, as equals, where nobody names one',
      none,
      registered.map((host) => [host, 0, null]),
    ],
    ['none where none is registered', { ...none, registered: [] }, []],
    [
      'those of the profile in its order, each once',
      { ...none, prefer: ['c', 'a'], fallback: ['a', 'b'] },
      [
        ['c', 0, null],
        ['a', 1, null],
        ['b', 2, null],
      ],
    ],
    [
      'not one that is not registered here, though the profile names it',
      { ...none, prefer: ['x'], fallback: ['b'] },
      [
        ['x', 0, UNKNOWN],
        ['b', 1, null],
      ],
    ],
    [
      'the one of the request alone, also where the profile does not name it',
      { ...none, asked: { host: 'b', by: 'the request' }, prefer: ['c'] },
      [
        ['b', 0, null],
        ['c', 0, OTHER],
      ],
    ],
    [
      'the one of the request alone, where the profile names it too',
      { ...none, asked: { host: 'b', by: 'the request' }, prefer: ['c', 'b'] },
      [
        ['b', 0, null],
        ['c', 0, OTHER],
      ],
    ],
    [
      'the one of the environment, by its own name',
      { ...none, registered: ['a', 'b'], asked: { host: 'b', by: 'SANDBOXER_HOST' } },
      [
        ['b', 0, null],
        ['a', 0, 'SANDBOXER_HOST names another host'],
      ],
    ],
  ];
  for (const [what, request, expected] of rows) {
    it(what, () =>
      expect(placeHosts(request).map(({ host, rank, leftOut }) => [host, rank, leftOut])).toEqual(expected),
    );
  }
});

const venue = (
  extensionId: string,
  host: string | null,
  change: Partial<CandidateFacts> = {},
): CandidateFacts => ({
  extensionId,
  host,
  leftOutReason: null,
  placementRank: 0,
  loadPerCpu: 0,
  installed: true,
  selfHosted: true,
  unhealthyReason: null,
  unsupportedReason: null,
  coolingUntilMs: null,
  slotsFree: 5,
  priceMicroUsdPerHour: 0,
  totalMicroUsd: 0,
  readyMs: null,
  ...change,
});
const request = {
  strategy: 'prefer-self-hosted',
  maxMicroUsdPerHour: null,
  forceCloud: false,
  nowMs: 0,
} as const;

describe('the order of venues', () => {
  const hosts = (...facts: CandidateFacts[]) =>
    decideRoute(facts, request).order.map((key) => parseVenue(key).host);
  const rows: [string, CandidateFacts[], string[]][] = [
    [
      'placement comes before load',
      [venue('ext.a', 'x', { placementRank: 1 }), venue('ext.a', 'y', { loadPerCpu: 9 })],
      ['y', 'x'],
    ],
    [
      'load comes before room',
      [venue('ext.a', 'x', { loadPerCpu: 1, slotsFree: 9 }), venue('ext.a', 'y')],
      ['y', 'x'],
    ],
    ['room comes before the name', [venue('ext.a', 'x'), venue('ext.a', 'y', { slotsFree: 6 })], ['y', 'x']],
    ['the name is the last word', [venue('ext.a', 'y'), venue('ext.a', 'x')], ['x', 'y']],
    [
      'a load that is not known comes last',
      [venue('ext.a', 'x', { loadPerCpu: null }), venue('ext.a', 'y', { loadPerCpu: 7 })],
      ['y', 'x'],
    ],
  ];
  for (const [what, facts, order] of rows) it(what, () => expect(hosts(...facts)).toEqual(order));

  it('the order of extensions stays that of the profile, hosts of one stay together', () => {
    const facts = [
      venue('ext.b', 'p', { loadPerCpu: 3 }),
      venue('ext.b', 'q'),
      venue('ext.a', null),
      venue('ext.c', 'r'),
    ];
    expect(decideRoute(facts, request).order).toEqual(['ext.b@q', 'ext.b@p', 'ext.a', 'ext.c@r']);
  });

  it('a host that is left out has its reason, before any other', () => {
    const facts = venue('ext.a', 'x', { leftOutReason: 'is draining', slotsFree: 0 });
    expect(decideRoute([facts], request).candidates[0]).toMatchObject({
      host: 'x',
      rank: null,
      reason: 'is draining',
    });
  });
});

describe('a venue that could not be had', () => {
  it('is left out with its reason, and the others move up', () => {
    const facts = [venue('ext.a', 'x'), venue('ext.a', 'y'), venue('ext.a', 'z', { leftOutReason: 'no' })];
    const after = passOverFirst(decideRoute(facts, request), 'filled up');
    expect(after.order).toEqual(['ext.a@y']);
    expect(after.candidates.map(({ host, chosen, rank }) => [host, chosen, rank])).toEqual([
      ['x', false, null],
      ['y', true, 0],
      ['z', false, null],
    ]);
    expect(after.candidates[0]!.reason).toBe('filled up');
  });
});

describe('names', () => {
  it('a venue and its key are the same thing, whatever the host is called', () => {
    for (const host of [null, 'box', 'ext.a', 'deploy@10.0.0.5:22', 'a@b@c']) {
      const found = { extensionId: 'ext.a-b', host };
      expect(parseVenue(venueKey(found))).toEqual(found);
    }
  });

  it('a destination that is shown can be read again', () => {
    for (const text of [
      'box',
      'deploy@box',
      'box:22',
      'deploy@box.example.org:2222',
      'deploy@[fd00::5]:22',
    ]) {
      expect(hostText(parseDestination(text)!)).toBe(text);
    }
  });

  it('an ad-hoc host keeps the name that it was called by; what is no address is none', () => {
    expect(adHocHost('deploy@box:22')).toMatchObject({
      name: 'deploy@box:22',
      ssh: { address: 'box', port: 22 },
    });
    for (const text of ['', 'a b', '-x', 'a@-b', 'a@b:0', 'a@b:c']) expect(adHocHost(text)).toBeNull();
  });
});
