/** Talks to the backend: one request, one bounded wait, one checked answer. Throws ExtensionError only. */
import type { z } from 'zod';
import { type Clock, timeoutSignal } from '../../ports/clock.ts';
import { ExtensionError } from '../../ports/extension.ts';
import { outcomeError, problemCode, replyError, unanswered } from './errors.ts';
import { type SimulatedBackend, WIRE_BODY_BYTES_MAX, type WireVerb } from './wire.ts';

export interface Target {
  readonly name: string | null;
  readonly epoch: number | null;
}

export const NO_TARGET: Target = { name: null, epoch: null };

export interface SimulatedClient {
  /** Answers what `schema` accepts. What is not an answer is `ambiguous` or `transient`, by verb. */
  request<T>(
    verb: WireVerb,
    target: Target,
    body: Readonly<Record<string, unknown>>,
    schema: z.ZodType<T>,
    signal: AbortSignal,
  ): Promise<T>;
  close(): Promise<void>;
}

export function createClient(
  backend: SimulatedBackend,
  clock: Clock,
  requestTimeoutMs: number,
): SimulatedClient {
  return {
    async request(verb, target, body, schema, signal) {
      if (signal.aborted) throw new ExtensionError('transient', `${verb} was given up before it was asked`);
      const timeout = timeoutSignal(clock, requestTimeoutMs, signal);
      try {
        const outcome = await backend.call(
          { verb, name: target.name, epoch: target.epoch, body },
          timeout.signal,
        );
        if (outcome.kind !== 'reply') throw outcomeError(verb, outcome.kind, signal.aborted);
        const value = readJson(outcome.reply.body);
        const { status } = outcome.reply;
        if (status < 200 || status > 299)
          throw replyError(verb, outcome.reply, problemCode(value), clock.nowMs());
        const parsed = schema.safeParse(value);
        if (!parsed.success) throw unanswered(verb, `the answer to ${verb} made no sense`);
        return parsed.data;
      } finally {
        timeout.done();
      }
    },
    close: () => backend.close(),
  };
}

/** `undefined` for anything that is not JSON, or too large to look at. */
function readJson(text: string): unknown {
  if (text.length > WIRE_BODY_BYTES_MAX) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the schema refuses it, and the caller says so
  }
}
