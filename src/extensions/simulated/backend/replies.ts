/** What a struck call answers: before any effect, or after it. */
import type { FaultKind, FaultRule } from '../config.ts';
import { WIRE_BODY_BYTES_MAX, type WireReply, type WireRequest } from '../wire.ts';
import type { Struck } from './faults.ts';

const JSON_TYPE = { 'content-type': 'application/json' };
const HTML = '<!doctype html><html><body><h1>503 Service Temporarily Unavailable</h1></body></html>';
const NESTING_DEPTH = 50_000;

export type Answer = WireReply | 'silence' | 'reset';

export function json(status: number, value: unknown): WireReply {
  return { status, headers: JSON_TYPE, body: JSON.stringify(value) };
}

export function problem(status: number, code: string, message: string): WireReply {
  return json(status, { code, message });
}

const BEFORE: Partial<Record<FaultKind, (rule: FaultRule) => Answer>> = {
  timeout_before: () => 'silence',
  reset_before: () => 'reset',
  outage: () => 'reset',
  error_before: () => problem(500, 'internal', 'something went wrong'),
  unauthenticated: () => problem(401, 'unauthenticated', 'the key is not valid any more'),
  forbidden: () => problem(403, 'forbidden', 'the key may not do this'),
  quota: () => problem(429, 'quota', 'the account is full'),
  capacity: () => problem(503, 'capacity', 'no room at the moment'),
  conflict_destroy: () => problem(409, 'destroy_in_progress', 'another destroy is running'),
  html_503: () => ({ status: 503, headers: { 'content-type': 'text/html' }, body: HTML }),
  throttled: (rule) => ({
    status: 429,
    headers: { ...JSON_TYPE, ...(rule.retryAfter === null ? {} : { 'retry-after': rule.retryAfter }) },
    body: JSON.stringify({ code: 'throttled', message: 'too many calls' }),
  }),
};

/** The answer of the first fault that keeps the call from having any effect; null when there is none. */
export function answerBefore(struck: Struck): Answer | null {
  for (const [kind, rule] of struck) {
    const make = BEFORE[kind];
    if (make !== undefined) return make(rule);
  }
  return null;
}

const AFTER: Partial<Record<FaultKind, (reply: WireReply, request: WireRequest) => Answer>> = {
  timeout_after: () => 'silence',
  reset_after: () => 'reset',
  late_provision: () => 'silence',
  error_after: () => problem(500, 'internal', 'something went wrong'),
  conflict_own_name: (_reply, request) =>
    problem(409, 'name_taken', `there is already a thing called ${request.name}`),
  truncated_body: (reply) => ({ ...reply, body: reply.body.slice(0, Math.floor(reply.body.length / 2)) }),
  garbage_body: (reply) => ({ ...reply, body: '\u0000\u001b]0;x\u0007{{{"' }),
  html_body: (reply) => ({ ...reply, headers: { 'content-type': 'text/html' }, body: HTML }),
  huge_body: (reply) => ({ ...reply, body: ' '.repeat(WIRE_BODY_BYTES_MAX + 1) }),
  deep_nesting: (reply) => ({ ...reply, body: '['.repeat(NESTING_DEPTH) + ']'.repeat(NESTING_DEPTH) }),
  wrong_types: () =>
    json(200, { id: 7, items: 'many', next: {}, entries: null, ok: 'maybe', seconds: 'some' }),
  control_characters: () => problem(500, 'internal', 'a\u0000b\u001b[2J\u001b]0;title\u0007c'),
  echoed_credentials: () =>
    problem(500, 'internal', 'call with Authorization: Bearer sk-simulated-credential-0123456789 failed'),
};

/** The answer after the effect was had: the true one, or what a fault made of it. */
export function answerAfter(struck: Struck, reply: WireReply, request: WireRequest): Answer {
  for (const kind of struck.keys()) {
    const make = AFTER[kind];
    if (make !== undefined) return make(reply, request);
  }
  return reply;
}
