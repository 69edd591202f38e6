import { z } from 'zod';
import { hostText } from '../domain/host/host.ts';
import type { HostEntry } from '../ports/host-directory.ts';
import { unknownHost } from './host-choice.ts';
import type { OperationContext } from './operation.ts';

export const hostSchemaShown = z.object({
  name: z.string(),
  /** Null where the host is this machine, and for callers that do not own the home. */
  ssh: z.string().nullable(),
  local: z.boolean(),
  key_file: z.string().nullable(),
  jump: z.string().nullable(),
  compose_command: z.string().nullable(),
  base_directory: z.string(),
  slots: z.number().int(),
  slots_used: z.number().int(),
  labels: z.record(z.string(), z.string()),
  price_micro_usd_per_hour: z.number().int(),
  draining: z.boolean(),
  source: z.enum(['added', 'file', 'environment', 'ad_hoc']),
});

/** A host as a face shows it. How to reach it is the operator's business alone. */
export async function hostView(
  context: OperationContext,
  { host, source }: HostEntry,
): Promise<z.input<typeof hostSchemaShown>> {
  const { ssh, ...rest } = host;
  const shown = context.principal.operator ? ssh : null;
  return {
    ...rest,
    ssh: shown === null ? null : hostText(shown),
    local: ssh === null,
    key_file: shown?.key_file ?? null,
    jump: shown?.jump ?? null,
    labels: { ...host.labels },
    slots_used: await context.engine.context.store.hostSlotsUsed(host.name),
    source,
  };
}

/** The entry of a name, or `unknown_host`. */
export async function requireHost(context: OperationContext, name: string): Promise<HostEntry> {
  const entries = await context.engine.context.hosts.entries();
  const entry = entries.find(({ host }) => host.name === name);
  if (entry === undefined) throw unknownHost(name, entries);
  return entry;
}
