/** What the hosts say when they are asked now, each within its time, all at once. */
import { z } from 'zod';
import type { Host } from '../domain/host/host.ts';
import { LIMITS } from '../domain/limits.ts';
import type { EngineContext } from '../engine/context.ts';
import { withinTime } from '../engine/host-states.ts';
import type { Extension, HostState, HostTelemetry } from '../ports/extension.ts';

export const telemetrySchema = z.object({
  load_1m: z.number(),
  load_5m: z.number(),
  load_15m: z.number(),
  cpu_count: z.number(),
  mem_total_mb: z.number(),
  mem_available_mb: z.number(),
  disk_root_used_pct: z.number(),
  disk_root_avail_gb: z.number(),
  running_containers: z.number().nullable(),
  sandbox_containers: z.number().nullable(),
});

export interface Measured {
  readonly telemetry: HostTelemetry | null;
  /** Why there is none, or null. */
  readonly reason: string | null;
}

export async function measure(
  engine: EngineContext,
  extension: Extension,
  host: Host | null,
): Promise<Measured> {
  if (extension.hostTelemetry === undefined) return { telemetry: null, reason: null };
  const outcome = await withinTime(engine.clock, LIMITS.hostCheckTimeoutMs, (signal) =>
    extension.hostTelemetry!(host, signal),
  );
  if ('answer' in outcome) return { telemetry: outcome.answer, reason: null };
  return { telemetry: null, reason: outcome.reason };
}

/** The installed backends that run sandboxes on hosts. */
export async function extensionsWithHosts(engine: EngineContext): Promise<readonly Extension[]> {
  const { extensions } = engine;
  const loaded = await Promise.all(extensions.summaries().map(({ id }) => extensions.load(id)));
  const capable = await Promise.all(loaded.map((extension) => extension.capabilities()));
  return loaded.filter((_extension, index) => capable[index]!.hosts);
}

export interface HostReport {
  readonly state: HostState;
  readonly telemetry: HostTelemetry | null;
}

export async function reportOn(engine: EngineContext, extension: Extension, host: Host): Promise<HostReport> {
  const [state, { telemetry }] = await Promise.all([
    engine.hostStates.ask(extension, host, LIMITS.hostCheckTimeoutMs),
    measure(engine, extension, host),
  ]);
  return { state, telemetry };
}
