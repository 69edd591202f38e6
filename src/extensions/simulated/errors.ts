/** What the wire says, as the kinds of the contract. Public messages are ours: nothing foreign is repeated. */
import { ExtensionError } from '../../ports/extension.ts';
import { ProblemSchema, type WireOutcome, type WireReply, type WireVerb } from './wire.ts';

const CHANGING: readonly WireVerb[] = ['provision', 'destroy', 'setOwnDeadline', 'exec', 'files', 'logs'];
/** Of these, repeating is harmless without a look first. */
const REPEATABLE: readonly WireVerb[] = ['setOwnDeadline', 'files', 'logs'];
const GONE = 'the sandbox is not there any more';
const RETRY_AFTER_MS_MAX = 3_600_000;

/** Without a usable answer the effect may have been had: `ambiguous` where that matters, else `transient`. */
export function unanswered(verb: WireVerb, message: string): ExtensionError {
  const matters = CHANGING.includes(verb) && !REPEATABLE.includes(verb);
  return new ExtensionError(matters ? 'ambiguous' : 'transient', message);
}

export function outcomeError(
  verb: WireVerb,
  kind: Exclude<WireOutcome['kind'], 'reply'>,
  aborted: boolean,
): ExtensionError {
  switch (kind) {
    case 'refused':
      return new ExtensionError('transient', 'the simulated backend does not listen');
    case 'silence':
      return unanswered(verb, aborted ? `${verb} was given up` : `${verb} got no answer in time`);
    case 'reset':
      return unanswered(verb, `the connection broke during ${verb}`);
    case 'oversized':
      return unanswered(verb, `the answer to ${verb} was too large`);
  }
}

/** The error of a reply that is no success. */
export function replyError(verb: WireVerb, reply: WireReply, code: string, nowMs: number): ExtensionError {
  const { status } = reply;
  const retryAfterMs = parseRetryAfter(reply.headers['retry-after'], nowMs);
  const options = retryAfterMs === null ? {} : { retryAfterMs };
  if (code === 'quota') return new ExtensionError('quota', 'the simulated account is full', options);
  if (code === 'capacity')
    return new ExtensionError('capacity', 'the simulated backend has no room', options);
  if (code === 'starting') return new ExtensionError('transient', 'the sandbox does not run yet');
  if (code === 'destroy_in_progress')
    return new ExtensionError('transient', 'another destroy is in progress');
  if (status === 401)
    return new ExtensionError('unauthenticated', 'the simulated backend refused the credentials');
  if (status === 403) return new ExtensionError('forbidden', `the simulated backend does not permit ${verb}`);
  if (status === 404) return new ExtensionError('conflict', GONE);
  if (status === 409)
    return new ExtensionError('conflict', `the state at the simulated backend forbids ${verb}`);
  if (status === 429)
    return new ExtensionError('throttled', 'the simulated backend asks to slow down', options);
  if (status >= 400 && status < 500)
    return new ExtensionError('invalid', `the simulated backend refused ${verb}`);
  return unanswered(verb, `the simulated backend failed with status ${status} during ${verb}`);
}

/** Whether the backend said that there is no such thing; the contract has no kind of its own for that. */
export function saysGone(error: unknown): boolean {
  return error instanceof ExtensionError && error.kind === 'conflict' && error.message === GONE;
}

/** The code of a problem body; empty when the body is something else. */
export function problemCode(value: unknown): string {
  const parsed = ProblemSchema.safeParse(value);
  return parsed.success ? parsed.data.code : '';
}

/** Seconds or an HTTP date; null for what makes no sense, and never more than an hour. */
export function parseRetryAfter(header: string | undefined, nowMs: number): number | null {
  if (header === undefined) return null;
  const text = header.trim();
  if (/^\d{1,15}$/.test(text)) return Math.min(Number(text) * 1_000, RETRY_AFTER_MS_MAX);
  if (!/^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} /.test(text)) return null;
  const atMs = Date.parse(text);
  return Number.isNaN(atMs) ? null : Math.min(Math.max(0, atMs - nowMs), RETRY_AFTER_MS_MAX);
}
