import { z } from 'zod';
import { formatDuration } from '../domain/duration.ts';
import { type SandboxState, STATES } from '../domain/sandbox/lifecycle.ts';
import type { EventRecord, SandboxRecord } from '../ports/store.ts';

const STATE_NAMES = Object.keys(STATES) as [SandboxState, ...SandboxState[]];

export const stateSchema = z.enum(STATE_NAMES);

export const consumerSchema = z.object({
  actor: z.enum(['adm', 'agt', 'atm']),
  project: z.string(),
  run_id: z.string().nullable(),
});

const candidateSchema = z.object({
  extension_id: z.string(),
  host: z.string().nullable(),
  chosen: z.boolean(),
  rank: z.number().int().nullable(),
  reason: z.string(),
});

export const routeSchema = z.object({
  strategy: z.string(),
  order: z.array(z.string()),
  candidates: z.array(candidateSchema),
});

export const reachabilitySchema = z.object({
  ssh: z.string().nullable(),
  remote_dir: z.string().nullable(),
  host: z.string().nullable(),
  compose_project: z.string().nullable(),
  tunnel: z.string().nullable(),
  tunnel_via: z.string().nullable(),
  identity: z.string().nullable(),
  ports: z.array(z.number().int()),
  exec: z.boolean(),
});

const telemetrySchema = z
  .object({
    schema_version: z.literal('0.1'),
    host: z.string(),
    sandbox_id: z.string(),
    profile_id: z.string(),
  })
  .loose();

/** The status of a sandbox, the same on every face. Times are ISO 8601 in UTC, money is in USD. */
export const sandboxSchema = z.object({
  sandbox_id: z.string(),
  profile_id: z.string(),
  profile_version: z.string(),
  extension_id: z.string(),
  state: stateSchema,
  desired: z.enum(['present', 'absent']),
  epoch: z.number().int(),
  consumer: consumerSchema,
  labels: z.record(z.string(), z.string()),
  reachability: reachabilitySchema.nullable(),
  created_at: z.string(),
  updated_at: z.string(),
  ready_at: z.string().nullable(),
  ttl: z.string(),
  ttl_max: z.string(),
  idle_reap: z.string().nullable(),
  expires_at: z.string().nullable(),
  grant: z
    .object({ requested: z.string(), granted: z.string().nullable(), cut_reason: z.string().nullable() })
    .nullable(),
  isolation: z.object({
    level: z.string(),
    degraded: z.array(z.object({ rule: z.string(), reason: z.string() })),
  }),
  observed: z.object({ state: z.string(), at: z.string(), detail: z.string().nullable() }).nullable(),
  run: z
    .object({
      kind: z.string(),
      step: z.string().nullable(),
      attempt: z.number().int(),
      last_error: z.string().nullable(),
    })
    .nullable(),
  failure: z.object({ code: z.string(), message: z.string(), cleaned_up: z.string().nullable() }).nullable(),
  needs_attention: z.string().nullable(),
  restored_from: z.string().nullable(),
  left_out: z.array(z.string()),
  route: routeSchema,
  telemetry: telemetrySchema.nullable(),
  meter: z.object({ estimate_usd: z.number(), actual_usd: z.number() }),
});

export type SandboxView = z.output<typeof sandboxSchema>;

const instant = (ms: number): string => new Date(ms).toISOString();
const instantOrNull = (ms: number | null): string | null => (ms === null ? null : instant(ms));

function grantView(grant: SandboxRecord['lastGrant']): SandboxView['grant'] {
  if (grant === null) return null;
  return {
    requested: formatDuration(grant.requestedMs),
    granted: grant.grantedMs === 0 ? null : formatDuration(grant.grantedMs),
    cut_reason: grant.cutReason,
  };
}

function runView(run: SandboxRecord['run']): SandboxView['run'] {
  if (run === null) return null;
  return {
    kind: run.kind,
    step: run.steps[run.cursor] ?? null,
    attempt: run.attempt,
    last_error: run.lastError,
  };
}

export function sandboxView(record: SandboxRecord): SandboxView {
  const { failure, observed } = record;
  return {
    sandbox_id: record.id,
    profile_id: record.profileId,
    profile_version: record.profileVersion,
    extension_id: record.extensionId,
    state: record.state,
    desired: record.desired,
    epoch: record.epoch,
    consumer: { ...record.consumer },
    labels: { ...record.labels },
    reachability:
      record.reachability === null ? null : { ...record.reachability, ports: [...record.reachability.ports] },
    created_at: instant(record.createdAtMs),
    updated_at: instant(record.updatedAtMs),
    ready_at: instantOrNull(record.readyAtMs),
    ttl: formatDuration(record.ttlMs),
    ttl_max: formatDuration(record.ttlMaxMs),
    idle_reap: record.idleReapMs === null ? null : formatDuration(record.idleReapMs),
    expires_at: instantOrNull(record.expiresAtMs),
    grant: grantView(record.lastGrant),
    isolation: {
      level: record.spec.isolationLevel,
      degraded: record.degradations.map((item) => ({ ...item })),
    },
    observed:
      observed === null
        ? null
        : { state: observed.state, at: instant(observed.atMs), detail: observed.detail },
    run: runView(record.run),
    failure:
      failure === null
        ? null
        : { code: failure.code, message: failure.message, cleaned_up: failure.cleanedUp },
    needs_attention: record.attention,
    restored_from: record.restoredFrom?.snapshotId ?? null,
    left_out: [...(record.restoredFrom?.leftOut ?? [])],
    route: {
      strategy: record.route.strategy,
      order: [...record.route.order],
      candidates: record.route.candidates.map((candidate) => ({ ...candidate })),
    },
    telemetry: record.telemetry === null ? null : { ...structuredClone(record.telemetry) },
    meter: { estimate_usd: record.estimateMicroUsd / 1e6, actual_usd: record.actualMicroUsd / 1e6 },
  };
}

const jsonOf = new WeakMap<SandboxRecord, Uint8Array>();

/** The view as JSON in UTF-8. It is made once for a record, which never changes, and goes when the store forgets the record. */
export function sandboxJson(record: SandboxRecord): Uint8Array {
  const known = jsonOf.get(record);
  if (known !== undefined) return known;
  const json = Buffer.from(JSON.stringify(sandboxView(record)));
  jsonOf.set(record, json);
  return json;
}

export const eventSchema = z.object({
  sandbox_id: z.string(),
  sequence: z.number().int().nullable(),
  at: z.string(),
  type: z.string(),
  state: stateSchema.nullable(),
  detail: z.record(z.string(), z.unknown()),
});

export type EventView = z.output<typeof eventSchema>;

export function eventView(
  event: Pick<EventRecord, 'sandboxId' | 'sequence' | 'atMs' | 'type' | 'state' | 'detail'>,
): EventView {
  return {
    sandbox_id: event.sandboxId,
    sequence: event.sequence,
    at: instant(event.atMs),
    type: event.type,
    state: event.state,
    detail: { ...event.detail },
  };
}
