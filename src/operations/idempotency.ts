import { createHash } from 'node:crypto';
import { SandboxerError } from '../domain/errors.ts';
import { LIMITS } from '../domain/limits.ts';
import type { IdempotencyRecord, StoreTransaction } from '../ports/store.ts';
import type { OperationContext } from './operation.ts';

/** The same value always gives the same text: keys sorted at every level. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (inner === null || typeof inner !== 'object' || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([left], [right]) => (left < right ? -1 : 1)));
  });
}

/**
 * "Same key, same body, same answer; same key, other body, conflict" (P7). The key is stored in the transaction
 * that stores the intent, so of many parallel duplicates one has an effect and the others wait for its answer.
 */
export class IdempotentRequest {
  readonly #context: OperationContext;
  readonly #scope: string;
  readonly #key: string | null;
  /** Of the input; empty without a key. */
  readonly #hash: string;

  constructor(context: OperationContext, operation: string, input: unknown) {
    this.#context = context;
    this.#scope = `${context.principal.id}/${operation}`;
    this.#key = context.idempotencyKey;
    this.#hash = this.#key === null ? '' : createHash('sha256').update(canonical(input)).digest('base64url');
    if (
      this.#key !== null &&
      (this.#key === '' || Buffer.byteLength(this.#key) > LIMITS.idempotencyKeyBytes)
    ) {
      throw new SandboxerError('invalid_request', 'The Idempotency-Key is empty or too long.', {
        nextStep: `Use at most ${LIMITS.idempotencyKeyBytes} bytes.`,
      });
    }
  }

  /** An earlier request with this key, with its answer if one was given. Throws when its body was another one. */
  async earlier(): Promise<IdempotencyRecord | null> {
    if (this.#key === null) return null;
    const found = await this.#context.engine.context.store.getIdempotency(this.#scope, this.#key);
    if (found === null) return null;
    if (found.requestHash !== this.#hash) {
      throw new SandboxerError(
        'idempotency_conflict',
        'This Idempotency-Key was used before with another body.',
        {
          nextStep: 'Repeat the first request unchanged, or use a new key.',
          sandboxId: found.sandboxId,
        },
      );
    }
    return found;
  }

  /** Part of the transaction of the intent: false when another request with this key came first. */
  async claim(transaction: StoreTransaction, sandboxId: string, runId: string): Promise<boolean> {
    if (this.#key === null) return true;
    return transaction.insertIdempotency({
      scope: this.#scope,
      key: this.#key,
      requestHash: this.#hash,
      sandboxId,
      runId,
      response: null,
      createdAtMs: this.#context.engine.context.clock.nowMs(),
    });
  }

  /** Stores the answer, durable before it is given; the first one stands. */
  async answer<Answer>(answer: Answer): Promise<Answer> {
    const key = this.#key;
    if (key === null) return answer;
    const { store } = this.#context.engine.context;
    await store.transaction((transaction) =>
      transaction.setIdempotencyResponse(this.#scope, key, JSON.stringify(answer)),
    );
    const stored = await store.getIdempotency(this.#scope, key);
    return stored?.response === null || stored === null ? answer : (JSON.parse(stored.response) as Answer);
  }
}
