import { SandboxerError } from '../../domain/errors.ts';
import { LIMITS } from '../../domain/limits.ts';
import type { Clock } from '../../ports/clock.ts';

interface Bucket {
  tokens: number;
  atMs: number;
}

/** Token buckets, one a key, in bounded memory: the least recently used is forgotten first. */
export class RateLimit {
  readonly #clock: Clock;
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #buckets = new Map<string, Bucket>();

  constructor(clock: Clock, perSecond: number, burst: number) {
    this.#clock = clock;
    this.#perSecond = perSecond;
    this.#burst = burst;
  }

  /** Takes one; throws `rate_limited` with the wait when there is none. */
  take(key: string): void {
    const bucket = this.#refilled(key);
    if (bucket.tokens >= 1) {
      bucket.tokens -= 1;
      return;
    }
    const retryAfterMs = Math.ceil(((1 - bucket.tokens) / this.#perSecond) * 1_000);
    throw new SandboxerError('rate_limited', 'Too many requests.', {
      nextStep: `Wait ${Math.ceil(retryAfterMs / 1_000)} s and repeat.`,
      retryAfterMs,
    });
  }

  #refilled(key: string): Bucket {
    const nowMs = this.#clock.monotonicMs();
    const bucket = this.#buckets.get(key) ?? { tokens: this.#burst, atMs: nowMs };
    bucket.tokens = Math.min(this.#burst, bucket.tokens + ((nowMs - bucket.atMs) / 1_000) * this.#perSecond);
    bucket.atMs = nowMs;
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size > LIMITS.rateLimitPrincipals) {
      this.#buckets.delete(this.#buckets.keys().next().value!);
    }
    return bucket;
  }
}
