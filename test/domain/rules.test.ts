/** Pure rules: durations, deadlines, names, back-off, routes, strays. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expiryCause, extendDeadline, initialDeadline } from '../../src/domain/deadline/deadline.ts';
import { formatDuration, parseDurationMs } from '../../src/domain/duration.ts';
import { backendName, base32, isSandboxId, parseBackendName, sandboxId } from '../../src/domain/ids.ts';
import { LIMITS } from '../../src/domain/limits.ts';
import { linkStaysBelow } from '../../src/domain/link.ts';
import { backoffMs } from '../../src/domain/sandbox/failure.ts';
import { nearestName, printable } from '../../src/domain/text.ts';
import { formatToken, parseToken } from '../../src/domain/token.ts';

describe('durations', () => {
  it('reads what the product allows', () => {
    expect(['1s', '90s', '15m', '2h', '365d'].map(parseDurationMs)).toEqual([
      1_000, 90_000, 900_000, 7_200_000, 31_536_000_000,
    ]);
  });

  for (const text of [
    '',
    '0s',
    '-5m',
    '1.5h',
    '5',
    'm5',
    '5 m',
    '5M',
    '1h30m',
    '01s',
    '366d',
    '9999999999d',
    ' 5m',
    '5m\n',
  ]) {
    it(`refuses ${JSON.stringify(text)} with a sentence and a next step`, () => {
      expect(() => parseDurationMs(text)).toThrowError(
        expect.objectContaining({ code: 'invalid_duration', nextStep: expect.any(String) }),
      );
    });
  }

  it('are written so that they can be read again', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: LIMITS.ttlMaxMs / 1_000 }), (seconds) => {
        expect(parseDurationMs(formatDuration(seconds * 1_000))).toBe(seconds * 1_000);
      }),
    );
  });
});

describe('deadlines (P5, P6)', () => {
  const instant = fc.integer({ min: 0, max: 2 ** 45 });
  const length = fc.integer({ min: 1, max: LIMITS.ttlMaxMs });

  it('an extension never passes the cap, never shortens, and says why it was cut', () => {
    fc.assert(
      fc.property(instant, length, length, instant, (readyAtMs, ttlMs, askedMs, nowMs) => {
        const capAtMs = readyAtMs + LIMITS.ttlMaxMs;
        const expiresAtMs = initialDeadline(readyAtMs, ttlMs, LIMITS.ttlMaxMs);
        const grant = extendDeadline(expiresAtMs, askedMs, capAtMs, nowMs);
        expect(grant.expiresAtMs).toBeGreaterThanOrEqual(expiresAtMs);
        expect(grant.expiresAtMs).toBeLessThanOrEqual(Math.max(capAtMs, expiresAtMs));
        expect(grant.cutReason === null).toBe(grant.grantedMs === askedMs);
      }),
    );
  });

  it('repeated extension ends at the cap', () => {
    let expiresAtMs = 10_000;
    for (let round = 0; round < 100; round += 1)
      expiresAtMs = extendDeadline(expiresAtMs, 5_000, 60_000, 0).expiresAtMs;
    expect(expiresAtMs).toBe(60_000);
  });

  it('counts from now where the deadline has passed', () => {
    expect(extendDeadline(10_000, 5_000, 60_000, 20_000).expiresAtMs).toBe(25_000);
  });

  const facts = {
    state: 'ready' as const,
    expiresAtMs: 1_000,
    hardCapAtMs: 5_000,
    idleReapMs: 300,
    lastActivityAtMs: 400,
    commandsRunning: 0,
  };
  const cases: [string, object, number, string | null][] = [
    ['lives before its time', {}, 500, null],
    ['ends at its time', {}, 1_000, 'ttl'],
    ['ends when idle', {}, 700, 'idle'],
    ['does not idle while a command runs', { commandsRunning: 1 }, 900, null],
    ['does not idle without a limit', { idleReapMs: null }, 999, null],
    ['ends at the hard cap in any state', { state: 'provisioning', expiresAtMs: null }, 5_000, 'hard_cap'],
    ['has no ttl while provisioning', { state: 'provisioning' }, 2_000, null],
  ];
  for (const [what, change, nowMs, cause] of cases) {
    it(what, () => expect(expiryCause({ ...facts, ...change }, nowMs)).toBe(cause));
  }
});

describe('names', () => {
  it('of a backend derive from id and epoch, and lead back', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 10, maxLength: 10 }),
        fc.integer({ min: 1, max: 10 ** 8 }),
        (bytes, epoch) => {
          const id = sandboxId(bytes);
          expect(isSandboxId(id)).toBe(true);
          expect(parseBackendName(backendName(id, epoch))).toEqual({ sandboxId: id, epoch });
        },
      ),
    );
  });

  it('outside our space are not taken for ours', () => {
    for (const name of [
      '',
      'sbx-',
      'sbx-UPPER00000',
      'sbx-abcdefghjk-e0',
      'xsbx-abcdefghjk',
      'sbx-abcdefghjk\n',
      'sbx-../../etc',
      'sbx-abcdefghjk-e1x',
    ]) {
      expect(parseBackendName(name), name).toBeNull();
    }
  });

  it('of tokens carry id and secret', () => {
    const id = base32(new Uint8Array(8).fill(3));
    const secret = base32(new Uint8Array(40).fill(9));
    expect(parseToken(formatToken(id, secret))).toEqual({ id, secret });
    expect(parseToken(`${formatToken(id, secret)}x`)).toBeNull();
  });
});

describe('text', () => {
  it('suggests what was meant, and nothing far away', () => {
    expect(nearestName('porfile', ['profile', 'project'])).toBe('profile');
    expect(nearestName('zzzzzzzz', ['profile', 'project'])).toBeNull();
  });

  it('from outside reaches a terminal without control characters', () => {
    expect(printable('a\u001b[31mb\u0000\u202ec')).toBe('a?[31mb??c');
  });
});

describe('back-off', () => {
  it('doubles between its bounds, with jitter that never goes over', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (attempt, jitter) => {
          const waitMs = backoffMs(attempt, 100, 10_000, jitter);
          expect(waitMs).toBeGreaterThanOrEqual(50);
          expect(waitMs).toBeLessThanOrEqual(10_000);
        },
      ),
    );
  });
});

describe('a link in a tree', () => {
  const rows: [string, string, boolean][] = [
    ['a', 'b', true],
    ['d/l', '.', true],
    ['d/l', '../b', true],
    ['d/l', '../../b', false],
    ['l', '..', false],
    ['l', '/etc/passwd', false],
    ['d/l', 'x/../y', false],
    ['d/p', 'l/l/l/../../../../etc/passwd', false],
    ['d/e/l', '../../b/c', true],
    ['l', 'a\0b', false],
  ];
  for (const [link, target, stays] of rows) {
    it(`${link} -> ${JSON.stringify(target)} ${stays ? 'stays' : 'may leave'}`, () => {
      expect(linkStaysBelow(link, target)).toBe(stays);
    });
  }
});
