/** What can be configured: the extension by environment, one sandbox by its profile, and the faults by either. */
import { join } from 'node:path';
import { z } from 'zod';
import { LIMITS } from '../../domain/limits.ts';
import { ExtensionError } from '../../ports/extension.ts';

/** The calls a fault can be tied to; `any` means all of them. */
export const FAULT_VERBS = [
  'health',
  'provision',
  'observe',
  'list',
  'destroy',
  'setOwnDeadline',
  'meter',
  'exec',
  'files',
  'logs',
] as const;
export type FaultVerb = (typeof FAULT_VERBS)[number];

const EVERY = [...FAULT_VERBS, 'any'] as const;
const MAKING = ['provision'] as const;
const CHANGING = ['provision', 'destroy', 'setOwnDeadline', 'exec', 'files'] as const;

/** Every fault and the calls it makes sense on. A rule outside this table is refused, not ignored. */
export const FAULTS = {
  // the reply
  timeout_before: EVERY,
  timeout_after: EVERY,
  reset_before: EVERY,
  reset_after: EVERY,
  slow: EVERY,
  drip: EVERY,
  doubled: CHANGING,
  // the status
  error_before: EVERY,
  error_after: EVERY,
  false_success: ['provision', 'setOwnDeadline'],
  conflict_own_name: MAKING,
  conflict_destroy: ['destroy'],
  unauthenticated: EVERY,
  forbidden: EVERY,
  throttled: EVERY,
  html_503: EVERY,
  outage: EVERY,
  quota: MAKING,
  capacity: MAKING,
  // the body
  truncated_body: EVERY,
  garbage_body: EVERY,
  html_body: EVERY,
  huge_body: EVERY,
  deep_nesting: EVERY,
  wrong_types: EVERY,
  control_characters: EVERY,
  echoed_credentials: EVERY,
  // the view
  eventual: MAKING,
  observe_stale: ['observe'],
  list_stale: ['list'],
  list_flapping: ['list'],
  list_page_missing: ['list'],
  list_loop: ['list'],
  list_other_tenants: ['list'],
  // identity
  id_reused: MAKING,
  two_under_one_name: MAKING,
  tags_lost: MAKING,
  tags_late: MAKING,
  // life
  accepted_forever: MAKING,
  late_provision: MAKING,
  dies_at_once: MAKING,
  dies_later: MAKING,
  early_own_ttl: MAKING,
  stuck_destroying: ['destroy'],
  destroy_lies: ['destroy'],
  resurrects: ['destroy'],
  // data
  output_lost: ['exec'],
  output_doubled: ['exec'],
  output_split: ['exec'],
  // money
  price_change: MAKING,
  usage_late: ['meter'],
  usage_negative: ['meter'],
} as const satisfies Record<string, readonly (FaultVerb | 'any')[]>;

export type FaultKind = keyof typeof FAULTS;
export const FAULT_KINDS = Object.keys(FAULTS) as FaultKind[];

const durationMs = z.int().min(0).max(LIMITS.ttlMaxMs);

export const FaultRuleSchema = z
  .strictObject({
    verb: z.enum([...FAULT_VERBS, 'any']),
    kind: z.enum(FAULT_KINDS),
    /** How often it strikes; null for always. */
    times: z.int().min(1).nullable().default(null),
    /** How many matching calls pass untouched first. */
    afterCalls: z.int().min(0).default(0),
    /** Drawn from the backend's seeded generator. */
    probability: z.number().min(0).max(1).default(1),
    /** How long, or after how long; each kind has its own default. */
    delayMs: durationMs.nullable().default(null),
    /** The `Retry-After` header of `throttled`, verbatim. */
    retryAfter: z.string().max(64).nullable().default(null),
    /** What `price_change` multiplies the price by. */
    factor: z.int().min(0).max(1_000).default(10),
    /** Only calls about the thing of this name. */
    name: z.string().max(200).nullable().default(null),
  })
  .refine((rule) => (FAULTS[rule.kind] as readonly string[]).includes(rule.verb), {
    error: (issue) => {
      const rule = issue.input as { verb: string; kind: FaultKind };
      return `fault ${rule.kind} does not fit verb ${rule.verb}; it fits ${FAULTS[rule.kind].join(', ')}`;
    },
  });

export type FaultRule = z.output<typeof FaultRuleSchema>;
/** A rule as a person or a test writes it, defaults left out. */
export type FaultRuleInput = z.input<typeof FaultRuleSchema>;

export const FaultRulesSchema = z.array(FaultRuleSchema).max(1_000);

/** `spec.configuration` of a profile that uses this extension. */
export const SpecConfigurationSchema = z.strictObject({
  faults: FaultRulesSchema.default([]),
  startMs: durationMs.default(0),
  stopMs: durationMs.default(0),
  priceMicroUsdPerHour: z.int().min(0).max(1_000_000_000_000).optional(),
});

export type SpecConfiguration = z.output<typeof SpecConfigurationSchema>;

export interface SimulatedConfiguration {
  /** The Unix socket of a backend process; null keeps the backend in this process, over `file`. */
  readonly socketPath: string | null;
  readonly file: string;
  readonly priceMicroUsdPerHour: number;
  readonly requestTimeoutMs: number;
}

const EnvironmentSchema = z.object({
  SANDBOXER_SIMULATED_SOCKET: z.string().min(1).nullable().default(null),
  SANDBOXER_SIMULATED_PRICE_MICRO_USD_PER_HOUR: z.coerce.number().int().min(0).default(100_000),
  SANDBOXER_SIMULATED_TIMEOUT_MS: z.coerce
    .number()
    .int()
    .min(1)
    .max(600_000)
    .default(LIMITS.observationTimeoutMs),
});

/** The variables that are read; the manifest names the same. */
export const ENVIRONMENT_NAMES: readonly string[] = Object.keys(EnvironmentSchema.shape);

/** Reads the environment; an unusable value is an `invalid` error that names the variable. */
export function readConfiguration(
  environment: Readonly<Record<string, string | undefined>>,
  directory: string,
): SimulatedConfiguration {
  const parsed = EnvironmentSchema.safeParse(environment);
  if (!parsed.success) throw invalid('environment', parsed.error);
  return {
    socketPath: parsed.data.SANDBOXER_SIMULATED_SOCKET,
    file: join(directory, 'truth.sqlite'),
    priceMicroUsdPerHour: parsed.data.SANDBOXER_SIMULATED_PRICE_MICRO_USD_PER_HOUR,
    requestTimeoutMs: parsed.data.SANDBOXER_SIMULATED_TIMEOUT_MS,
  };
}

export function readSpecConfiguration(configuration: unknown): SpecConfiguration {
  const parsed = SpecConfigurationSchema.safeParse(configuration);
  if (!parsed.success) throw invalid('configuration', parsed.error);
  return parsed.data;
}

export function invalid(what: string, error: z.ZodError): ExtensionError {
  const issue = error.issues[0];
  const where = [what, ...(issue?.path ?? [])].join('.');
  return new ExtensionError('invalid', `${where}: ${issue?.message ?? 'not valid'}`);
}
