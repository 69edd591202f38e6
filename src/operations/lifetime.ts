import { z } from 'zod';
import { extendDeadline } from '../domain/deadline/deadline.ts';
import { parseDurationMs } from '../domain/duration.ts';
import { SandboxerError } from '../domain/errors.ts';
import { LIMITS } from '../domain/limits.ts';
import { isOver, isUsable } from '../domain/sandbox/lifecycle.ts';
import { beginDestroy, beginRecreate, newRun, newRunId } from '../engine/begin.ts';
import { commitChange } from '../engine/commit.ts';
import { expireIfOver, whyOver } from '../engine/expire.ts';
import type { Change } from '../engine/record.ts';
import type { SandboxRecord } from '../ports/store.ts';
import { checkAttention, visibleSandbox } from './access.ts';
import { IdempotentRequest } from './idempotency.ts';
import { call, type OperationContext } from './operation.ts';
import { idInput, sandboxIdField } from './sandboxes.ts';
import { type SandboxView, sandboxSchema, sandboxView } from './view.ts';

interface RunRequest {
  readonly operation: string;
  readonly input: { readonly id: string };
  /** The change that begins the run, or null when there is nothing to do. */
  begin(current: SandboxRecord, runId: string): Change | null;
  /** Throws what the finished run means for the caller. */
  check(record: SandboxRecord, runId: string): void;
}

/** Begins a run on an existing sandbox and waits for it; with a key, once, however often it is asked. */
async function runAndAnswer(context: OperationContext, request: RunRequest): Promise<SandboxView> {
  const { engine, signal } = context;
  const { id } = request.input;
  await visibleSandbox(context, id);
  const idempotent = new IdempotentRequest(context, request.operation, request.input);
  const earlier = await idempotent.earlier();
  if (earlier !== null && earlier.response !== null) return JSON.parse(earlier.response) as SandboxView;
  const runId = earlier?.runId ?? (await begin(context, request, idempotent));
  const record = await engine.runner.settled(id, signal);
  request.check(record, runId);
  engine.context.crashPoints.reached(`${request.operation}.answer.before`);
  return idempotent.answer(sandboxView(record));
}

/** Records and starts the run; answers its id, or that of another request with the same key that came first. */
async function begin(
  context: OperationContext,
  request: RunRequest,
  idempotent: IdempotentRequest,
): Promise<string> {
  const { engine } = context;
  const { id } = request.input;
  const runId = newRunId(engine.context);
  let claimed = false;
  engine.context.crashPoints.reached(`${request.operation}.begin.before`);
  await commitChange(engine.context, id, (current) => request.begin(current, runId), {
    async alongside(transaction) {
      claimed = await idempotent.claim(transaction, id, runId);
      return claimed;
    },
    begin(record) {
      engine.context.crashPoints.reached(`${request.operation}.begin.recorded`);
      engine.runner.start(record);
    },
  });
  return claimed ? runId : ((await idempotent.earlier())?.runId ?? runId);
}

function refuseWhileBusy(current: SandboxRecord): void {
  if (current.run === null) return;
  throw new SandboxerError('state_conflict', `The sandbox ${current.id} is busy with ${current.run.kind}.`, {
    sandboxId: current.id,
    nextStep: `Wait for it: sandboxer events ${current.id} --follow`,
  });
}

export const destroy = call({
  name: 'destroy',
  summary: 'Take a sandbox down, and prove that it is gone',
  input: idInput,
  output: sandboxSchema,
  scope: 'write',
  effect: 'destructive',
  keyed: true,
  errors: ['not_found', 'backend_unavailable', 'idempotency_conflict'],
  examples: ['sandboxer destroy <id>'],
  http: { method: 'DELETE', path: '/v1/sandboxes/{id}' },
  cli: { command: ['destroy'], positional: ['id'], flags: {} },
  run: (context, input) =>
    runAndAnswer(context, {
      operation: 'destroy',
      input,
      begin(current, runId) {
        const underWay = current.run?.kind === 'destroy' && current.attention === null;
        return isOver(current.state) || underWay
          ? null
          : beginDestroy(context.engine.context, 'asked for', runId);
      },
      check: checkAttention,
    }),
});

export const recreate = call({
  name: 'recreate',
  summary: 'Take a sandbox down and establish it afresh under the same id',
  input: idInput,
  output: sandboxSchema,
  scope: 'write',
  effect: 'destructive',
  keyed: true,
  errors: ['not_found', 'state_conflict', 'backend_unavailable', 'backend_failed', 'idempotency_conflict'],
  examples: ['sandboxer recreate <id>'],
  http: { method: 'POST', path: '/v1/sandboxes/{id}/recreate' },
  cli: { command: ['recreate'], positional: ['id'], flags: {} },
  run: (context, input) =>
    runAndAnswer(context, {
      operation: 'recreate',
      input,
      begin(current, runId) {
        if (current.run?.kind === 'recreate') return null;
        refuseWhileBusy(current);
        return beginRecreate(context.engine.context, current, runId);
      },
      check(record) {
        checkAttention(record);
        if (record.failure === null) return;
        throw new SandboxerError(record.failure.code as SandboxerError['code'], record.failure.message, {
          sandboxId: record.id,
          ...(record.failure.cleanedUp === null ? {} : { cleanedUp: record.failure.cleanedUp }),
        });
      },
    }),
});

export const extendTtl = call({
  name: 'extend_ttl',
  summary: "Let a sandbox live longer, never beyond its profile's ttl.max",
  input: z.strictObject({
    id: sandboxIdField,
    duration: z.string().max(20).describe('How much longer, e.g. 2h'),
  }),
  output: sandboxSchema,
  scope: 'write',
  effect: 'write',
  keyed: true,
  errors: ['not_found', 'invalid_duration', 'state_conflict', 'backend_unavailable', 'idempotency_conflict'],
  examples: ['sandboxer extend-ttl <id> --duration 2h'],
  http: { method: 'PATCH', path: '/v1/sandboxes/{id}/ttl' },
  cli: { command: ['extend-ttl'], positional: ['id'], flags: { duration: '--duration <duration>' } },
  run(context, input) {
    const { context: engine } = context.engine;
    const durationMs = parseDurationMs(input.duration);
    return runAndAnswer(context, {
      operation: 'extend',
      input,
      begin(current, runId) {
        refuseWhileBusy(current);
        if (!isUsable(current.state) || current.expiresAtMs === null || current.readyAtMs === null) {
          throw new SandboxerError(
            'state_conflict',
            `The sandbox ${current.id} is ${current.state}; its time cannot be extended.`,
            {
              sandboxId: current.id,
            },
          );
        }
        const capAtMs = Math.min(current.readyAtMs + current.ttlMaxMs, current.hardCapAtMs);
        const grant = extendDeadline(current.expiresAtMs, durationMs, capAtMs, engine.clock.nowMs());
        const argument = {
          expires_at_ms: grant.expiresAtMs,
          requested_ms: grant.requestedMs,
          granted_ms: grant.grantedMs,
          cut_reason: grant.cutReason,
        };
        const run = newRun(engine, 'extend', false, argument, runId);
        return { patch: { run } };
      },
      check(record, runId) {
        if (!isUsable(record.state)) {
          throw new SandboxerError(
            'state_conflict',
            `The sandbox ${record.id} ended before its time was extended.`,
            {
              sandboxId: record.id,
            },
          );
        }
        const failure = record.lastRunFailure;
        if (failure === null || failure.runId !== runId) return;
        throw new SandboxerError(failure.code as SandboxerError['code'], failure.message, {
          sandboxId: record.id,
        });
      },
    });
  },
});

const expiryResult = z.object({
  sandbox_id: z.string(),
  profile_id: z.string(),
  cause: z.enum(['ttl', 'idle', 'hard_cap']),
  result: z.enum(['dry-run', 'destroyed', 'failed']),
  detail: z.string().nullable(),
});

async function expireOne(
  context: OperationContext,
  record: SandboxRecord,
): Promise<Pick<z.output<typeof expiryResult>, 'result' | 'detail'>> {
  const { engine, signal } = context;
  await expireIfOver(engine.context, record, (expired) => engine.runner.start(expired));
  const settled = await engine.runner.settled(record.id, signal);
  if (isOver(settled.state)) return { result: 'destroyed', detail: null };
  return { result: 'failed', detail: settled.attention ?? `it is ${settled.state}` };
}

export const expire = call({
  name: 'expire',
  summary: 'End every sandbox whose time is over; a dry run unless told to apply',
  input: z.strictObject({
    apply: z.stringbool().or(z.boolean()).default(false).describe('Really end them'),
  }),
  output: z.object({ applied: z.boolean(), results: z.array(expiryResult) }),
  scope: 'write',
  effect: 'destructive',
  keyed: false,
  errors: [],
  examples: ['sandboxer expire', 'sandboxer expire --apply'],
  http: { method: 'POST', path: '/v1/sandboxes/expire' },
  cli: { command: ['expire'], positional: [], flags: { apply: '--apply' } },
  async run(context, { apply }) {
    const { engine } = context;
    const due = await engine.context.store.listDue(engine.context.clock.nowMs(), LIMITS.reconcileBatch);
    const own = context.principal.project;
    const results: z.output<typeof expiryResult>[] = [];
    for (const record of due) {
      if (own !== null && record.consumer.project !== own) continue;
      const { cause } = await whyOver(engine.context, record);
      if (cause === null) continue;
      const outcome = apply ? await expireOne(context, record) : { result: 'dry-run' as const, detail: null };
      results.push({ sandbox_id: record.id, profile_id: record.profileId, cause, ...outcome });
    }
    return { applied: apply, results };
  },
});
