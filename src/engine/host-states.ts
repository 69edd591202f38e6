import type { Host } from '../domain/host/host.ts';
import { LIMITS } from '../domain/limits.ts';
import { venueKey } from '../domain/routing/venue.ts';
import { asSentence } from '../domain/text.ts';
import { type Clock, timeoutSignal } from '../ports/clock.ts';
import type { Extension, HostState } from '../ports/extension.ts';
import { Gate } from './gate.ts';

interface Remembered {
  readonly host: Host;
  /** Null while it is being asked. */
  answeredAtMs: number | null;
  readonly state: Promise<HostState>;
}

/** Rejects when the signal aborts, whether or not the work heeds it. */
async function orAborted<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** Asks within a time; what does not answer is not there. */
export async function withinTime<Result>(
  clock: Clock,
  milliseconds: number,
  ask: (signal: AbortSignal) => Promise<Result>,
): Promise<{ readonly answer: Result } | { readonly reason: string }> {
  const time = timeoutSignal(clock, milliseconds, new AbortController().signal);
  try {
    return { answer: await orAborted(ask(time.signal), time.signal) };
  } catch (error) {
    if (time.signal.aborted) return { reason: `It did not answer within ${milliseconds / 1_000} s.` };
    return { reason: asSentence(error instanceof Error ? error.message : 'It failed without a reason') };
  } finally {
    time.done();
  }
}

/** What the hosts said of themselves; what is good is remembered for a moment, so that a row of creates asks once. */
export class HostStates {
  readonly #clock: Clock;
  readonly #gate = new Gate(LIMITS.hostStatesInFlight);
  readonly #remembered = new Map<string, Remembered>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Never rejects: a host that cannot be asked cannot be used, and the reason says why. */
  state(extension: Extension, host: Host): Promise<HostState> {
    const known = this.#remembered.get(keyOf(extension, host));
    if (known !== undefined && sameWay(known.host, host) && this.#isFresh(known)) return known.state;
    return this.ask(extension, host, LIMITS.hostStateTimeoutMs);
  }

  /** The same, asked now. */
  ask(extension: Extension, host: Host, timeoutMs: number): Promise<HostState> {
    const asked: Remembered = { host, answeredAtMs: null, state: this.#ask(extension, host, timeoutMs) };
    this.#remembered.set(keyOf(extension, host), asked);
    asked.state.then(({ ok }) => {
      if (ok) asked.answeredAtMs = this.#clock.monotonicMs();
      else if (this.#remembered.get(keyOf(extension, host)) === asked) {
        this.#remembered.delete(keyOf(extension, host)); // somebody may be mending it right now
      }
    });
    return asked.state;
  }

  #isFresh({ answeredAtMs }: Remembered): boolean {
    return answeredAtMs === null || this.#clock.monotonicMs() - answeredAtMs < LIMITS.hostStateCacheMs;
  }

  async #ask(extension: Extension, host: Host, timeoutMs: number): Promise<HostState> {
    const outcome = await withinTime(this.#clock, timeoutMs, async (signal) => {
      const leave = await this.#gate.enter(signal);
      signal.addEventListener('abort', leave, { once: true }); // who does not heed it holds no place
      try {
        return await extension.hostState!(host, signal);
      } finally {
        leave();
      }
    });
    return 'answer' in outcome ? outcome.answer : { ok: false, reason: outcome.reason, loadPerCpu: null };
  }
}

function keyOf(extension: Extension, host: Host): string {
  return venueKey({ extensionId: extension.id, host: host.name });
}

/** Nothing that is asked of a host depends on its labels, price or slots. */
function sameWay(left: Host, right: Host): boolean {
  const way = ({ ssh, compose_command, base_directory }: Host) =>
    JSON.stringify([ssh, compose_command, base_directory]);
  return way(left) === way(right);
}
