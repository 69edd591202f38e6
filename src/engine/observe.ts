import { timeoutSignal } from '../ports/clock.ts';
import type { Extension, Observation, Reference } from '../ports/extension.ts';
import type { EngineContext } from './context.ts';

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : 'it failed without a reason';
}

/** Asks the backend what is there. Whatever goes wrong is `unknown`; only the extension can prove absence. */
export async function observe(
  engine: EngineContext,
  extension: Extension,
  reference: Reference,
  signal: AbortSignal,
): Promise<Observation> {
  const timeout = timeoutSignal(engine.clock, engine.settings.observationTimeoutMs, signal);
  try {
    return await extension.observe(reference, timeout.signal);
  } catch (error) {
    signal.throwIfAborted();
    return { kind: 'unknown', cause: sentence(error) };
  } finally {
    timeout.done();
  }
}
