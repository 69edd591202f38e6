import { z } from 'zod';
import { parseDurationMs } from '../duration.ts';
import { LIMITS } from '../limits.ts';

const duration = z.string().superRefine((text, context) => {
  try {
    parseDurationMs(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : 'not a duration' });
  }
});

const slug = z.string().regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, 'lower-case letters, digits and single dashes');
export const PROFILE_ID = /^profile\.[a-z0-9]+(-[a-z0-9]+)*$/;
export const EXTENSION_ID = /^ext\.[a-z0-9]+(-[a-z0-9]+)*$/;
const extensionId = z.string().regex(EXTENSION_ID, 'an extension id such as ext.local');

export const ISOLATION_LEVELS = ['process', 'container', 'gvisor', 'microvm', 'vm'] as const;
export const ROUTE_STRATEGIES = ['explicit', 'prefer-self-hosted', 'lowest-cost', 'lowest-latency'] as const;

const isolation = z.strictObject({ level: z.enum(ISOLATION_LEVELS) });
const network = z.strictObject({
  default: z.enum(['deny', 'allow']).default('deny'),
  egress: z.array(z.string().min(1).max(253)).max(256).default([]),
});
const workspace = z.strictObject({
  mode: z.enum(['remote-canonical', 'ephemeral']).default('ephemeral'),
  access: z.enum(['rw', 'ro']).default('rw'),
});
const ttl = z
  .strictObject({ default: duration, max: duration, idle_reap: duration.nullable().default(null) })
  .refine(
    (value) => parseDurationOrZero(value.default) <= parseDurationOrZero(value.max),
    'default is longer than max',
  );
const resources = z.strictObject({
  cpu: z.number().positive().max(1_024).nullable().default(null),
  memory_mb: z.number().int().min(8).max(16_777_216).nullable().default(null),
  processes: z.number().int().min(4).max(1_000_000).nullable().default(null),
  /** Start anyway, and say so in the status, where a limit cannot be enforced. */
  allow_degraded: z.boolean().default(false),
});
const input = z.strictObject({ required: z.boolean().default(false), description: z.string().max(300) });
const route = z.strictObject({
  strategy: z.enum(ROUTE_STRATEGIES),
  extensions: z.array(extensionId).min(1).max(40),
  max_cost_per_hour_usd: z.number().nonnegative().nullable().default(null),
});

/** The shape of `profiles/profile.<slug>.yaml`. Unknown keys are refused, defaults are filled in. */
export const profileSchema = z
  .strictObject({
    id: z.string().regex(PROFILE_ID, 'must look like profile.my-name'),
    version: z.string().regex(/^\d+\.\d+\.\d+$/, 'must look like "1.0.0"'),
    description: z.string().max(500).default(''),
    extension: extensionId.optional(),
    isolation: isolation.default({ level: 'process' }),
    network: network.default({ default: 'deny', egress: [] }),
    workspace: workspace.default({ mode: 'ephemeral', access: 'rw' }),
    scope_default: z.enum(['session', 'project']).default('session'),
    ttl,
    resources: resources.default({ cpu: null, memory_mb: null, processes: null, allow_degraded: false }),
    inputs: z.record(z.string().max(64), input).default({}),
    setup: z
      .strictObject({
        instructions: z.string().max(16_384).default(''),
        secret_refs: z.array(slug).max(64).default([]),
      })
      .default({ instructions: '', secret_refs: [] }),
    placement: z
      .strictObject({ prefer: z.array(z.string()).default([]), fallback: z.array(z.string()).default([]) })
      .default({ prefer: [], fallback: [] }),
    reachability: z
      .strictObject({ tunnel: z.string().optional(), identity: z.string().optional() })
      .default({}),
    metadata: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).default({}),
    route: route.optional(),
    /** Run the introspection report at ready. */
    telemetry: z.boolean().default(false),
    /** Handed to the extension as it is; the extension's own schema checks it. */
    config: z.record(z.string(), z.unknown()).default({}),
  })
  .refine((profile) => profile.extension !== undefined || profile.route !== undefined, {
    message: 'name an extension, or a route with extensions',
  });

export type Profile = z.output<typeof profileSchema>;

function parseDurationOrZero(text: string): number {
  return /^[1-9][0-9]{0,9}[smhd]$/.test(text) ? parseDurationMs(text) : 0;
}

/** The extensions a profile may run on, in the order it names them. */
export function candidateExtensions(profile: Profile): readonly string[] {
  if (profile.route !== undefined && profile.route.strategy !== 'explicit') return profile.route.extensions;
  return [profile.extension ?? profile.route!.extensions[0]!];
}

export interface ProfileTimes {
  readonly ttlMs: number;
  readonly ttlMaxMs: number;
  readonly idleReapMs: number | null;
  /** Ends a sandbox that never becomes ready, counted from the request. */
  readonly hardCapMs: number;
}

export function profileTimes(profile: Profile): ProfileTimes {
  const ttlMaxMs = parseDurationMs(profile.ttl.max);
  return {
    ttlMs: parseDurationMs(profile.ttl.default),
    ttlMaxMs,
    idleReapMs: profile.ttl.idle_reap === null ? null : parseDurationMs(profile.ttl.idle_reap),
    hardCapMs: ttlMaxMs + LIMITS.provisionTimeoutMs,
  };
}
