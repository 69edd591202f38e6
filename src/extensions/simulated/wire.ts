/** What crosses the line between this extension and its backend. Both sides import it; nothing else is shared. */
import { z } from 'zod';
import type { FaultVerb } from './config.ts';

/** `renew` keeps a running command alive in the truth; it is no call of its own and no fault touches it. */
export type WireVerb = FaultVerb | 'renew';

export interface WireRequest {
  readonly verb: WireVerb;
  readonly name: string | null;
  readonly epoch: number | null;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface WireReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Raw text: whether it is JSON is for the client to find out. */
  readonly body: string;
}

/** `silence`: no answer until the signal fired. `refused`: nobody listens, so nothing was asked. */
export type WireOutcome =
  | { readonly kind: 'reply'; readonly reply: WireReply }
  | { readonly kind: 'silence' }
  | { readonly kind: 'reset' }
  | { readonly kind: 'oversized' }
  | { readonly kind: 'refused' };

/** The one way to the truth, in this process or in another. Never rejects for what the other side did. */
export interface SimulatedBackend {
  call(request: WireRequest, signal: AbortSignal): Promise<WireOutcome>;
  close(): Promise<void>;
}

export const WIRE_BODY_BYTES_MAX = 32 * 1024 * 1024;

export const ThingSchema = z.object({
  id: z.string().min(1).max(100),
  name: z.string().max(200),
  epoch: z.int().min(1),
  tags: z.record(z.string(), z.string()),
  state: z.enum(['starting', 'running', 'stopping', 'dead']),
  detail: z.string().max(4_096).nullable(),
  ageMs: z.number().nullable(),
  commandsRunning: z.int().min(0),
  idleMs: z.number().min(0),
});
export type WireThing = z.output<typeof ThingSchema>;

export const ProvisionedSchema = z.object({
  id: z.string().min(1).max(100),
  name: z.string(),
  epoch: z.int(),
});
/** `lagMs` > 0: this answer may miss what happened in the last `lagMs`, so nothing in it proves absence. */
export const LookupSchema = z.object({ items: z.array(ThingSchema).max(1_000), lagMs: z.number() });
export const WireListSchema = z.object({
  items: z.array(ThingSchema).max(10_000),
  next: z.string().max(200).nullable(),
  total: z.int().min(0),
});
export const GrantedSchema = z.object({ grantedMs: z.number() });
export const UsageSchema = z.object({ seconds: z.number(), costMicroUsd: z.number() });
export const StartedSchema = z.object({
  pid: z.int().min(1),
  /** How the output of this command gets hurt on its way, if at all. */
  output: z.enum(['whole', 'lost', 'doubled', 'split']),
});
export const FileSchema = z.object({
  name: z.string(),
  type: z.enum(['file', 'directory', 'symlink', 'other']),
  sizeBytes: z.int().min(0),
  modeBits: z.int().min(0),
  modifiedAtMs: z.number(),
});
export const FileStatSchema = z.object({ entry: FileSchema.nullable() });
export const FileListSchema = z.object({ entries: z.array(FileSchema) });
export const FileDataSchema = z.object({ dataBase64: z.string() });
export const WrittenSchema = z.object({ sizeBytes: z.int().min(0) });
export const DoneSchema = z.object({});
export const HealthSchema = z.object({ ok: z.boolean(), reason: z.string().max(4_096).nullable() });
export const ProblemSchema = z.object({ code: z.string().max(100), message: z.string().max(4_096) });
