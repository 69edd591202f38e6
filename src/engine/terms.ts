/** What an extension makes of a spec at one venue: what it holds less firmly, and what it costs. */
import type { Degradation, Extension, SandboxSpec } from '../ports/extension.ts';

const HOUR_MS = 3_600_000;

export interface Terms {
  readonly degradations: readonly Degradation[];
  readonly priceMicroUsdPerHour: number;
  readonly totalMicroUsd: number;
}

/** Rejects with the ExtensionError of an extension that refuses. The price of the host comes on top of its estimate. */
export async function termsOf(
  extension: Extension,
  spec: SandboxSpec,
  ttlMs: number,
  hostMicroUsdPerHour: number,
): Promise<Terms> {
  const { degradations } = await extension.validate(spec);
  const estimate = await extension.estimate(spec, ttlMs);
  return {
    degradations,
    priceMicroUsdPerHour: estimate.priceMicroUsdPerHour + hostMicroUsdPerHour,
    totalMicroUsd: estimate.totalMicroUsd + Math.ceil((hostMicroUsdPerHour * ttlMs) / HOUR_MS),
  };
}
