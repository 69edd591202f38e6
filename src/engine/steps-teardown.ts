import { LIMITS } from '../domain/limits.ts';
import { parseVenue, venueKey } from '../domain/routing/venue.ts';
import { restoreExtraMsOf } from './begin.ts';
import { observe } from './observe.ts';
import { venueOf } from './slots.ts';
import { NotYet, referenceOf, type Step, type StepInput } from './step.ts';
import { termsOf } from './terms.ts';

const POLL_FIRST_MS = 2;
const POLL_MAX_MS = 250;
const PATIENCE_MS = 5_000;

async function requestDestroyNow(input: StepInput): Promise<void> {
  await input.extension.destroy(referenceOf(input.record), input.signal);
}

export const requestDestroy: Step = {
  label: 'asking the backend to remove it',
  async perform(input) {
    await requestDestroyNow(input);
    return { change: {}, provisional: true };
  },
};

/** Looks until the backend is seen not to have it. One that says "removed" and keeps it is asked again. */
export const proveAbsent: Step = {
  label: 'proving that it is gone',
  async perform(input) {
    const { engine, extension, record } = input;
    const giveUpAtMs = engine.clock.monotonicMs() + PATIENCE_MS;
    for (let pollMs = POLL_FIRST_MS; ; pollMs = Math.min(pollMs * 2, POLL_MAX_MS)) {
      const seen = await observe(engine, extension, referenceOf(record), input.signal);
      if (seen.kind === 'absent') {
        const observed = { state: 'absent' as const, atMs: engine.clock.nowMs(), detail: seen.proof };
        return { change: { patch: { observed, handle: null } }, provisional: true };
      }
      if (engine.clock.monotonicMs() >= giveUpAtMs) {
        await requestDestroyNow(input);
        const why =
          seen.kind === 'present' ? 'The backend still has it' : `The backend does not say: ${seen.cause}`;
        throw new NotYet(`${why}.`);
      }
      await engine.clock.sleep(pollMs, input.signal);
    }
  },
};

export const recordDestroyed: Step = {
  label: 'recording',
  async perform(input) {
    return {
      provisional: false,
      change: {
        lifecycle: ['absence_proven'],
        detail: { proof: input.record.observed?.detail ?? null },
        patch: { desired: 'absent', attention: null, expiresAtMs: input.record.expiresAtMs },
      },
    };
  },
};

export const recordCleanedUp: Step = {
  label: 'recording',
  async perform(input) {
    const { failure, observed } = input.record;
    const cleanedUp = `Everything it had at ${input.record.extensionId} was removed: ${observed?.detail ?? 'proven'}.`;
    return {
      provisional: false,
      change: {
        events: [{ type: 'cleaned_up', detail: { proof: observed?.detail ?? null } }],
        patch: {
          desired: 'absent',
          attention: null,
          failure: failure === null ? null : { ...failure, cleanedUp },
        },
      },
    };
  },
};

/** The old incarnation is proven gone; the same sandbox begins again under its next name. */
export const nextIncarnation: Step = {
  label: 'beginning again',
  async perform(input) {
    return {
      provisional: false,
      change: {
        lifecycle: ['provision_started'],
        detail: { epoch: input.record.epoch + 1 },
        patch: {
          epoch: input.record.epoch + 1,
          handle: null,
          reachability: null,
          telemetry: null,
          readyAtMs: null,
          expiresAtMs: null,
          failure: null,
          hardCapAtMs:
            input.engine.clock.nowMs() +
            input.record.ttlMaxMs +
            LIMITS.provisionTimeoutMs +
            restoreExtraMsOf(input.record),
        },
      },
    };
  },
};

/** The failed candidate is proven to hold nothing; the next one gets a name of its own, and its own terms. */
export const nextCandidate: Step = {
  label: 'moving to the next venue',
  async perform(input) {
    const { engine, record, run } = input;
    const to = String(run.argument.next_venue);
    const { extensionId, host } = parseVenue(to);
    const spec = { ...record.spec, placement: { host } };
    const price = host === null ? 0 : ((await engine.hosts.get(host))?.price_micro_usd_per_hour ?? 0);
    const extension = await engine.extensions.load(extensionId);
    const { degradations, totalMicroUsd } = await termsOf(extension, spec, record.ttlMs, price);
    const detail = { from: venueKey(venueOf(record)), to, why: run.argument.why };
    return {
      provisional: false,
      change: {
        events: [{ type: 'failed_over', detail }],
        patch: {
          epoch: record.epoch + 1,
          extensionId,
          spec,
          degradations,
          estimateMicroUsd: totalMicroUsd,
          handle: null,
          hostBefore: null,
        },
      },
    };
  },
};
