import { z } from 'zod';
import { SandboxerError } from '../domain/errors.ts';
import { SANDBOX_ID_BYTES, sandboxId } from '../domain/ids.ts';
import { LIMITS } from '../domain/limits.ts';
import { type Profile, profileTimes } from '../domain/profile/profile.ts';
import { INITIAL_STATE } from '../domain/sandbox/lifecycle.ts';
import { restoreExtraMs } from '../domain/snapshot/restore-time.ts';
import { newMakingRun, restoreExtraMsOf } from '../engine/begin.ts';
import { commitNew } from '../engine/commit.ts';
import type { StoredSnapshot } from '../ports/snapshot-archives.ts';
import type { SandboxRecord } from '../ports/store.ts';
import { checkAttention, projectOf } from './access.ts';
import { guardedInputs } from './host-paths.ts';
import { IdempotentRequest } from './idempotency.ts';
import { call, type OperationContext } from './operation.ts';
import { type Choice, type Plan, plan } from './planning.ts';
import { type SandboxView, sandboxSchema, sandboxView } from './view.ts';

const name = z.string().min(1).max(120);

export const createInput = z.strictObject({
  profile: z.string().max(120).default('profile.sandbox-canary').describe('The recipe, e.g. profile.local'),
  inputs: z
    .record(z.string().max(120), z.string().max(LIMITS.inputValueBytes))
    .refine((inputs) => Object.keys(inputs).length <= LIMITS.inputCount, 'too many inputs')
    .default({})
    .describe('Inputs of the profile, e.g. repo=./my-project or env.NAME=value'),
  actor: z
    .enum(['adm', 'agt', 'atm'])
    .default('adm')
    .describe('Who asks: administrator, agent or automation'),
  project: name.optional().describe('The project it counts for'),
  run_id: name.optional().describe('Your own name for the run it belongs to'),
  host: z.string().max(300).optional().describe('A registered host, where the backend has hosts'),
  ttl: z.string().max(20).optional().describe('How long it lives from ready on, e.g. 30m'),
  labels: z
    .record(z.string().max(63), z.string().max(256))
    .refine((labels) => Object.keys(labels).length <= LIMITS.labelCount, 'too many labels')
    .default({})
    .describe('Labels to find it by, e.g. team=red'),
  wait: z.boolean().default(true).describe('Answer once it is ready (the default), or at once'),
});

export type CreateInput = z.output<typeof createInput>;

function draft(
  context: OperationContext,
  input: CreateInput,
  profile: Profile,
  planned: Choice & Pick<Plan, 'ttlMs'> & Pick<SandboxRecord, 'id' | 'restoredFrom'>,
): SandboxRecord {
  const { context: engine } = context.engine;
  const times = profileTimes(profile);
  const nowMs = engine.clock.nowMs();
  return {
    id: planned.id,
    version: 1,
    epoch: 1,
    consumer: {
      actor: input.actor,
      project: projectOf(context.principal, input.project),
      run_id: input.run_id ?? null,
    },
    labels: input.labels,
    profileId: profile.id,
    profileVersion: profile.version,
    extensionId: planned.extensionId,
    state: INITIAL_STATE,
    desired: 'present',
    observed: null,
    run: null,
    spec: planned.spec,
    restoredFrom: planned.restoredFrom,
    handle: null,
    route: planned.route,
    degradations: planned.degradations,
    reachability: null,
    telemetry: null,
    wantsTelemetry: profile.telemetry,
    hostBefore: null,
    failure: null,
    lastRunFailure: null,
    attention: null,
    slot: null,
    estimateMicroUsd: planned.estimateMicroUsd,
    actualMicroUsd: 0,
    ttlMs: planned.ttlMs,
    ttlMaxMs: times.ttlMaxMs,
    idleReapMs: times.idleReapMs,
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
    readyAtMs: null,
    expiresAtMs: null,
    hardCapAtMs: nowMs + times.hardCapMs + restoreExtraMsOf(planned),
    lastGrant: null,
    lastActivityAtMs: null,
    dueAtMs: null,
    eventSequence: 0,
  };
}

/** The failure of a create as the error its caller sees: the cause, and what was cleaned up. */
function failureOf(record: SandboxRecord): SandboxerError | null {
  if (record.failure === null) return null;
  const { code, message, cleanedUp } = record.failure;
  return new SandboxerError(code as SandboxerError['code'], message, {
    sandboxId: record.id,
    cleanedUp: cleanedUp ?? 'Not all of it could be removed yet; that is tried again by itself.',
    nextStep: `See what happened with: sandboxer events ${record.id}`,
  });
}

async function answer(context: OperationContext, id: string, wait: boolean): Promise<SandboxView> {
  const { engine, signal } = context;
  const record = wait ? await engine.runner.settled(id, signal) : await engine.context.store.getSandbox(id);
  const failure = failureOf(record!);
  if (failure !== null && wait) throw failure;
  if (wait) checkAttention(record!);
  return sandboxView(record!);
}

const sumsOf = ({ record, base }: StoredSnapshot) => [record.sums, ...(base === null ? [] : [base.sums])];

/** Records and starts it; answers its id, or that of an earlier request with the same key. `snapshot`: what to begin with. */
export async function record(
  context: OperationContext,
  input: CreateInput,
  request: IdempotentRequest,
  snapshot: StoredSnapshot | null = null,
): Promise<string> {
  const { engine, signal } = context;
  const { profile } = await engine.context.profiles.get(input.profile);
  const inputs = await guardedInputs(context, input.inputs);
  const planned = await plan(
    engine.context,
    profile,
    { inputs, host: input.host || null, ttl: input.ttl, restored: snapshot !== null },
    signal,
  );
  const id = sandboxId(engine.context.entropy.bytes(SANDBOX_ID_BYTES));
  const { choices, ttlMs } = planned;
  const restoredFrom =
    snapshot === null
      ? null
      : { snapshotId: snapshot.record.id, leftOut: [], extraMs: restoreExtraMs(sumsOf(snapshot)) };
  const drafts = choices.map((choice) =>
    draft(context, input, profile, { ...choice, ttlMs, id, restoredFrom }),
  );
  const run = newMakingRun({ restoredFrom }, engine.context, 'create', profile.telemetry);
  engine.context.crashPoints.reached('create.begin.before');
  const written = await commitNew(
    engine.context,
    drafts,
    {
      requested: { profile_id: profile.id, route: choices[0]!.route.order },
      lifecycle: ['provision_started'],
      patch: { run },
    },
    {
      alongside: (transaction) => request.claim(transaction, id, run.id),
      begin(record) {
        engine.context.crashPoints.reached('create.begin.recorded');
        engine.runner.start(record);
      },
    },
  );
  return written?.id ?? (await request.earlier())!.sandboxId;
}

/** The answer that the key of the request got before; else what `establish` records, waited for where that was asked. */
export async function establishOnce(
  context: OperationContext,
  request: IdempotentRequest,
  wait: boolean,
  establish: () => Promise<string>,
): Promise<SandboxView> {
  const earlier = await request.earlier();
  if (earlier !== null && earlier.response !== null) return JSON.parse(earlier.response) as SandboxView;
  const view = await answer(context, earlier?.sandboxId ?? (await establish()), wait);
  context.engine.context.crashPoints.reached('create.answer.before');
  return request.answer(view);
}

export const create = call({
  name: 'create',
  summary: 'Establish a sandbox; without a profile, the canary self-deploy',
  input: createInput,
  output: sandboxSchema,
  scope: 'write',
  effect: 'write',
  keyed: true,
  errors: [
    'invalid_request',
    'invalid_duration',
    'invalid_profile',
    'unknown_profile',
    'unknown_extension',
    'unknown_host',
    'invalid_hosts',
    'missing_input',
    'invalid_input',
    'ttl_over_maximum',
    'idempotency_conflict',
    'quota_exceeded',
    'unsupported',
    'no_candidate',
    'backend_unavailable',
    'backend_refused',
    'backend_failed',
    'provision_timeout',
    'store_full',
  ],
  examples: [
    'sandboxer create',
    'sandboxer create --profile profile.local --ttl 30m',
    'sandboxer create --profile profile.local --input repo=. --input env.GREETING=hello',
    'sandboxer create --profile profile.local --label team=red --no-wait',
  ],
  http: { method: 'POST', path: '/v1/sandboxes', status: 201 },
  cli: {
    command: ['create'],
    positional: [],
    flags: {
      profile: '--profile <id>',
      inputs: '--input <name=value...>',
      actor: '--actor <adm|agt|atm>',
      project: '--project <name>',
      run_id: '--run-id <name>',
      host: '--host <name>',
      ttl: '--ttl <duration>',
      labels: '--label <name=value...>',
      wait: '--no-wait',
    },
  },
  async run(context, input) {
    const request = new IdempotentRequest(context, 'create', input);
    return establishOnce(context, request, input.wait, () => record(context, input, request));
  },
});
