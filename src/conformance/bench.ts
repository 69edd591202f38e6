/** The work bench of one case: makes things, waits for them, and clears up whatever happened. */
import {
  EXTENSION_ERROR_KINDS,
  type Extension,
  ExtensionError,
  type ExtensionErrorKind,
  type Listed,
  type ListPage,
  type Observation,
  type ProvisionRequest,
  type Reference,
} from '../ports/extension.ts';
import { type ConformanceHarness, ConformanceViolation } from './harness.ts';

const LONG_MS = 600_000;
const PAGES_MAX = 1_000;
const CALL_WITHIN_MS = 30_000;
const SHORT_DEADLINE_MS = 2_000;
const POLL_MS = 50;

export const NO_ABORT: AbortSignal = new AbortController().signal;

export type Made = Reference & { readonly handle: NonNullable<Reference['handle']> };

/** Throws unless `condition` holds. */
export function ensure(condition: boolean, message: string): asserts condition {
  if (!condition) throw new ConformanceViolation(message);
}

export class Bench {
  readonly harness: ConformanceHarness;
  readonly extension: Extension;
  readonly #instances: Extension[];
  readonly #made: Reference[] = [];

  constructor(harness: ConformanceHarness, extension: Extension) {
    this.harness = harness;
    this.extension = extension;
    this.#instances = [extension];
  }

  get shortDeadlineMs(): number {
    return this.harness.timings.shortDeadlineMs ?? SHORT_DEADLINE_MS;
  }

  get callWithinMs(): number {
    return this.harness.timings.callWithinMs ?? CALL_WITHIN_MS;
  }

  /** Another instance over the same backend, as after a restart. */
  async fresh(): Promise<Extension> {
    const extension = await this.harness.create();
    this.#instances.push(extension);
    return extension;
  }

  request(name: string, overrides: Partial<ProvisionRequest> = {}): ProvisionRequest {
    const epoch = overrides.epoch ?? 1;
    this.#made.push({ name, epoch, handle: null });
    const tags = { 'sandboxer-suite': 'conformance' };
    const base = {
      name,
      epoch,
      tags,
      spec: this.harness.spec(),
      ownDeadlineMs: LONG_MS,
      ownDeadlineCapMs: LONG_MS,
    };
    return { ...base, signal: NO_ABORT, ...overrides };
  }

  async provision(overrides: Partial<ProvisionRequest> = {}): Promise<Made> {
    const request = this.request(overrides.name ?? this.harness.newName(), overrides);
    const handle = await this.within(this.extension.provision(request), 'provision');
    return { name: request.name, epoch: request.epoch, handle };
  }

  /** Provisions and waits until it runs. */
  async running(overrides: Partial<ProvisionRequest> = {}): Promise<Made> {
    const made = await this.provision(overrides);
    await this.untilRunning(made);
    return made;
  }

  observe(reference: Reference, extension = this.extension): Promise<Observation> {
    return this.within(extension.observe(reference, NO_ABORT), 'observe');
  }

  destroy(reference: Reference, extension = this.extension): Promise<void> {
    return this.within(extension.destroy(reference, NO_ABORT), 'destroy');
  }

  async untilRunning(reference: Reference, extension = this.extension): Promise<void> {
    const { readyWithinMs } = this.harness.timings;
    await this.until(readyWithinMs, `${reference.name} to run`, async () => {
      const seen = await this.observe(reference, extension);
      ensure(
        !(seen.kind === 'present' && seen.state === 'dead'),
        `it died instead of running: ${describe(seen)}`,
      );
      return seen.kind === 'present' && seen.state === 'running' ? null : describe(seen);
    });
  }

  /** Observed absent, with a proof, and where there is another way to look, really gone. */
  async untilAbsent(reference: Reference, extension = this.extension): Promise<void> {
    await this.until(this.harness.timings.goneWithinMs, `${reference.name} to be absent`, async () => {
      const seen = await this.observe(reference, extension);
      if (seen.kind !== 'absent') return describe(seen);
      ensure(seen.proof.length > 0, 'absent was observed without a proof');
      return null;
    });
    await this.ensureTruth(reference.name, false, 'observe said absent');
  }

  async ensureTruth(name: string, expected: boolean, said: string): Promise<void> {
    if (this.harness.truth === undefined) return;
    const real = await this.harness.truth.exists(name);
    ensure(real === expected, `${said}, but the backend ${real ? 'still holds' : 'does not hold'} ${name}`);
  }

  /** `look` answers null when it is done, or what it saw instead. */
  async until(withinMs: number, what: string, look: () => Promise<string | null>): Promise<void> {
    const { clock, timings } = this.harness;
    const startMs = clock.monotonicMs();
    for (;;) {
      const saw = await look();
      if (saw === null) return;
      const waitedMs = clock.monotonicMs() - startMs;
      ensure(waitedMs < withinMs, `waited ${Math.round(waitedMs)} ms for ${what}; last seen: ${saw}`);
      await clock.sleep(timings.pollMs ?? POLL_MS);
    }
  }

  /** Fails when `promise` neither resolves nor rejects in time. */
  async within<T>(promise: Promise<T>, what: string, withinMs?: number): Promise<T> {
    const limitMs = withinMs ?? this.callWithinMs;
    const done = new AbortController();
    const alarm = this.harness.clock.sleep(limitMs, done.signal).then(() => {
      throw new ConformanceViolation(`${what} hung for ${limitMs} ms`);
    });
    alarm.catch(() => undefined); // the race below is what reports it
    try {
      return await Promise.race([promise, alarm]);
    } finally {
      done.abort();
    }
  }

  /** `work` must fail, with an error of the contract, of one of `kinds` when any are given. */
  async fails(
    work: () => Promise<unknown>,
    what: string,
    kinds: readonly ExtensionErrorKind[] = [],
  ): Promise<void> {
    const error = await this.within(
      work().then(
        () => null,
        (thrown: unknown) => ({ thrown }),
      ),
      what,
    );
    ensure(error !== null, `${what} succeeded, but had to fail`);
    const thrown = error.thrown;
    if (thrown instanceof ConformanceViolation) throw thrown;
    ensureContractError(thrown, what);
    const fits = kinds.length === 0 || kinds.includes(thrown.kind);
    ensure(fits, `${what} failed with kind ${thrown.kind}, not ${kinds.join(' or ')}`);
  }

  /** Every page, in order. Fails on a cursor that does not end. */
  async pages(extension = this.extension): Promise<ListPage[]> {
    const pages: ListPage[] = [];
    const cursors = new Set<string>();
    let cursor: string | null = null;
    do {
      const page: ListPage = await this.within(extension.list(cursor, NO_ABORT), 'list');
      pages.push(page);
      cursor = page.nextCursor;
      ensure(cursor === null || !cursors.has(cursor), 'list answered the same cursor twice');
      ensure(pages.length < PAGES_MAX, `list did not end after ${PAGES_MAX} pages`);
      if (cursor !== null) cursors.add(cursor);
    } while (cursor !== null);
    return pages;
  }

  async listed(extension = this.extension): Promise<Listed[]> {
    return (await this.pages(extension)).flatMap((page) => page.items);
  }

  /** Removes everything this case may have made and closes every instance. Problems here are no violation. */
  async clear(): Promise<void> {
    const broom = await this.harness.create();
    for (const reference of this.#made) {
      await this.within(broom.destroy(reference, NO_ABORT), 'destroy').catch(() => undefined); // best effort
    }
    for (const extension of [...this.#instances, broom]) await extension.close();
  }
}

export function describe(seen: Observation): string {
  if (seen.kind === 'present') return `present, ${seen.state}`;
  return seen.kind === 'absent' ? `absent (${seen.proof})` : `unknown (${seen.cause})`;
}

export function ensureContractError(thrown: unknown, what: string): asserts thrown is ExtensionError {
  const named = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  ensure(thrown instanceof ExtensionError, `${what} threw ${named}, which is no ExtensionError`);
  ensure(EXTENSION_ERROR_KINDS.includes(thrown.kind), `${what} threw the unknown kind ${thrown.kind}`);
  const { retryAfterMs } = thrown;
  ensure(
    retryAfterMs === null || (Number.isFinite(retryAfterMs) && retryAfterMs >= 0),
    `${what}: bad retryAfterMs`,
  );
}

/** One row of a table of cases. */
export interface CaseRow {
  readonly name: string;
  readonly guarantee: string;
  check(bench: Bench): Promise<void>;
}
