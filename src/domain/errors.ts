/**
 * The one error registry. Every failure a face can show has a row here: its HTTP status, exit code, whether
 * repeating the same request can help, and whose fault it is. Only `SandboxerError.message` and `nextStep`
 * (public texts) reach a face; `cause` stays inside.
 */

export type Fault = 'user' | 'provider' | 'sandboxer';

export interface ErrorKind {
  readonly httpStatus: number;
  readonly exitCode: number;
  readonly retryable: boolean;
  readonly fault: Fault;
  readonly summary: string;
}

const kind = (
  httpStatus: number,
  exitCode: number,
  retryable: boolean,
  fault: Fault,
  summary: string,
): ErrorKind => ({ httpStatus, exitCode, retryable, fault, summary });

export const ERROR_REGISTRY = {
  invalid_request: kind(400, 2, false, 'user', 'The request is malformed or a value is out of range.'),
  invalid_duration: kind(
    400,
    2,
    false,
    'user',
    'A duration is not a positive integer followed by s, m, h or d.',
  ),
  invalid_profile: kind(
    422,
    2,
    false,
    'user',
    'A profile file breaks the schema; the message names file and line.',
  ),
  unknown_profile: kind(404, 2, false, 'user', 'No profile has that id.'),
  unknown_extension: kind(404, 2, false, 'user', 'No extension has that id.'),
  unknown_host: kind(404, 2, false, 'user', 'No host has that name.'),
  invalid_hosts: kind(
    422,
    2,
    false,
    'user',
    'The hosts file breaks the schema; the message names file and line.',
  ),
  missing_input: kind(400, 2, false, 'user', 'The profile needs an input that was not given.'),
  invalid_input: kind(400, 2, false, 'user', 'An input has a value that the backend refuses.'),
  ttl_over_maximum: kind(422, 2, false, 'user', 'The requested life is longer than the profile allows.'),
  unauthenticated: kind(401, 3, false, 'user', 'No valid token was presented.'),
  forbidden: kind(403, 3, false, 'user', 'The token lacks the scope that this operation needs.'),
  not_found: kind(404, 4, false, 'user', 'There is no such thing, or it belongs to another project.'),
  state_conflict: kind(409, 5, false, 'user', 'The sandbox is in a state that does not allow this.'),
  idempotency_conflict: kind(409, 5, false, 'user', 'The idempotency key was used before with another body.'),
  body_too_large: kind(413, 2, false, 'user', 'The request body is over the limit.'),
  rate_limited: kind(429, 6, true, 'user', 'Too many requests; wait as long as Retry-After says.'),
  quota_exceeded: kind(429, 6, true, 'user', 'All slots are taken.'),
  unsupported: kind(422, 7, false, 'user', 'The chosen backend cannot enforce or do what was asked.'),
  no_candidate: kind(422, 7, false, 'user', 'No extension fits the profile; the message gives each reason.'),
  backend_unavailable: kind(503, 8, true, 'provider', 'The backend did not answer or is not installed.'),
  backend_refused: kind(502, 8, false, 'provider', 'The backend refused the request.'),
  backend_failed: kind(502, 8, true, 'provider', 'The backend failed while working on the request.'),
  provision_timeout: kind(504, 8, true, 'provider', 'The sandbox did not become ready in time.'),
  sandbox_unreachable: kind(502, 8, true, 'provider', 'The sandbox does not answer.'),
  home_locked: kind(503, 9, true, 'user', 'Another process is using this home directory.'),
  store_unavailable: kind(503, 9, true, 'sandboxer', 'The store cannot be read or written.'),
  store_full: kind(507, 9, true, 'user', 'The disk that holds the store is full.'),
  store_newer: kind(500, 9, false, 'user', 'The store was written by a newer version.'),
  snapshot_corrupt: kind(
    422,
    7,
    false,
    'user',
    'The archive of a snapshot is damaged, or not what was written.',
  ),
  snapshot_too_large: kind(413, 7, false, 'user', 'What would be captured is over a limit.'),
  server_unreachable: kind(503, 9, true, 'user', 'The server at SANDBOXER_URL does not answer.'),
  cancelled: kind(499, 130, true, 'user', 'The caller gave up.'),
  internal: kind(500, 70, false, 'sandboxer', 'A defect in sand-boxer; the evidence was kept.'),
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERROR_REGISTRY;

export interface ErrorOptions {
  /** One sentence: what to type or change next. */
  readonly nextStep?: string;
  /** What was undone or released before this error was reported. */
  readonly cleanedUp?: string;
  readonly sandboxId?: string;
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/** A registered failure. `message` is public: it must hold no secret and no internal detail. */
export class SandboxerError extends Error {
  readonly code: ErrorCode;
  readonly nextStep: string | undefined;
  readonly cleanedUp: string | undefined;
  readonly sandboxId: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'SandboxerError';
    this.code = code;
    this.nextStep = options.nextStep;
    this.cleanedUp = options.cleanedUp;
    this.sandboxId = options.sandboxId;
    this.retryAfterMs = options.retryAfterMs;
  }

  get kind(): ErrorKind {
    return ERROR_REGISTRY[this.code];
  }
}

/** The public face of a failure, as HTTP bodies, the CLI and the library show it (RFC 9457 plus our fields). */
export interface Problem {
  readonly code: ErrorCode;
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly retryable: boolean;
  readonly fault: Fault;
  readonly next_step?: string;
  readonly cleaned_up?: string;
  readonly sandbox_id?: string;
}

export function problemOf(error: SandboxerError): Problem {
  const { kind: row } = error;
  return {
    code: error.code,
    status: row.httpStatus,
    title: row.summary,
    detail: error.message,
    retryable: row.retryable,
    fault: row.fault,
    ...(error.nextStep === undefined ? {} : { next_step: error.nextStep }),
    ...(error.cleanedUp === undefined ? {} : { cleaned_up: error.cleanedUp }),
    ...(error.sandboxId === undefined ? {} : { sandbox_id: error.sandboxId }),
  };
}

export function errorFromProblem(problem: Problem): SandboxerError {
  const code: ErrorCode = problem.code in ERROR_REGISTRY ? problem.code : 'internal';
  return new SandboxerError(code, problem.detail, {
    ...(problem.next_step === undefined ? {} : { nextStep: problem.next_step }),
    ...(problem.cleaned_up === undefined ? {} : { cleanedUp: problem.cleaned_up }),
    ...(problem.sandbox_id === undefined ? {} : { sandboxId: problem.sandbox_id }),
  });
}

/** Anything thrown, as a registered error. An unregistered one becomes `internal` and keeps its cause. */
export function asSandboxerError(thrown: unknown): SandboxerError {
  if (thrown instanceof SandboxerError) return thrown;
  if (thrown instanceof Error && (thrown.name === 'AbortError' || thrown.name === 'TimeoutError')) {
    return new SandboxerError('cancelled', 'The request was cancelled.', { cause: thrown });
  }
  return new SandboxerError('internal', 'Something failed that should not have failed.', {
    nextStep: 'Run `sandboxer doctor`, and report this with the log line that carries the cause.',
    cause: thrown,
  });
}
