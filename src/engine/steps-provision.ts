import { initialDeadline } from '../domain/deadline/deadline.ts';
import { LIMITS } from '../domain/limits.ts';
import { venueKey } from '../domain/routing/venue.ts';
import { asSentence } from '../domain/text.ts';
import { ExtensionError, type Handle, type Observation, type Reachability } from '../ports/extension.ts';
import type { RestoreSource } from '../ports/snapshot.ts';
import { restoreExtraMsOf } from './begin.ts';
import { observe } from './observe.ts';
import { openRestore } from './restore.ts';
import { venueOf } from './slots.ts';
import { referenceOf, type Step, type StepInput } from './step.ts';
import { collectTelemetry, measureHost } from './telemetry.ts';

const POLL_FIRST_MS = 2;
const POLL_MAX_MS = 1_000;

/** Our deadline plus the margin: what the backend's own switch is set to, milliseconds from now. */
function ownDeadlineMs(input: StepInput): number {
  return input.record.ttlMs + input.engine.settings.ownDeadlineMarginMs;
}

async function ask(input: StepInput, restore: RestoreSource | null): Promise<Handle> {
  const { engine, extension, record } = input;
  const { name, epoch } = referenceOf(record);
  const extraMs = restoreExtraMsOf(record);
  return extension.provision({
    name,
    epoch,
    spec: record.spec,
    tags: {
      'sandboxer-id': record.id,
      'sandboxer-epoch': String(epoch),
      'sandboxer-project': record.consumer.project,
    },
    ownDeadlineMs: ownDeadlineMs(input) + extraMs,
    ownDeadlineCapMs:
      record.ttlMaxMs + LIMITS.provisionTimeoutMs + extraMs + engine.settings.ownDeadlineMarginMs,
    ...(restore === null ? {} : { restore }),
    signal: input.signal,
  });
}

/** A lost answer is a question: is the thing of our name there? Only a proof of absence lets us ask again. */
async function resolveAmbiguity(input: StepInput, error: ExtensionError): Promise<Handle> {
  const seen = await observe(input.engine, input.extension, referenceOf(input.record), input.signal);
  if (seen.kind === 'present' && seen.state !== 'dead') return seen.handle;
  if (seen.kind === 'absent' && error.kind === 'ambiguous') {
    throw new ExtensionError('transient', `${asSentence(error.message)} It was then proven absent.`, {
      cause: error,
    });
  }
  if (seen.kind === 'unknown') {
    throw new ExtensionError(
      'transient',
      `${asSentence(error.message)} Asked again, the backend did not say: ${seen.cause}.`,
    );
  }
  throw new ExtensionError('capacity', error.message, { cause: error });
}

export const provision: Step = {
  label: 'asking the backend',
  async perform(input) {
    const restoring = await openRestore(input);
    let handle: Handle;
    try {
      handle = await ask(input, restoring?.source ?? null);
    } catch (error) {
      if (restoring?.failure() != null) throw restoring.failure();
      if (error instanceof ExtensionError && error.kind === 'invalid') await restoring?.prove(input.signal);
      const unclear = error instanceof ExtensionError && ['ambiguous', 'conflict'].includes(error.kind);
      if (!unclear) throw error;
      handle = await resolveAmbiguity(input, error as ExtensionError);
    }
    const restoredFrom = restoring?.restoredFrom ?? null;
    return { change: { patch: { handle, restoredFrom } }, provisional: true };
  },
};

/** A backend that keeps silent is left for the next one; one that says "starting" has until the run's deadline. */
function patienceEnded(input: StepInput, seen: Observation, silentSinceMs: number): ExtensionError | null {
  const nowMs = input.engine.clock.nowMs();
  if (seen.kind === 'unknown' && nowMs - silentSinceMs >= LIMITS.silencePatienceMs) {
    return new ExtensionError('capacity', `The backend does not say whether it runs: ${seen.cause}`);
  }
  if (nowMs >= input.run.deadlineAtMs) return new ExtensionError('transient', 'It is still starting.');
  return null;
}

function endedEarly(seen: Observation): ExtensionError | null {
  if (seen.kind === 'absent') {
    return new ExtensionError('capacity', `The backend accepted it and does not have it: ${seen.proof}.`);
  }
  if (seen.kind === 'present' && (seen.state === 'dead' || seen.state === 'stopping')) {
    return new ExtensionError(
      'capacity',
      `It ended while starting${seen.detail === null ? '' : `: ${seen.detail}`}.`,
    );
  }
  return null;
}

const TUNNEL_KEEPER = 'ops-bridge';
const IDENTITY_KEEPER = 'ops-warden';

/** What is reached over SSH may be behind a tunnel: who keeps it is said by the profile, where it ends by the operator. */
function pointToTunnel({ engine, record }: StepInput, reachability: Reachability): Reachability {
  if (reachability.ssh === null) return reachability;
  const { access } = record.spec;
  return {
    ...reachability,
    tunnel: reachability.tunnel ?? engine.settings.tunnel,
    tunnel_via: reachability.tunnel_via ?? access?.tunnelVia ?? TUNNEL_KEEPER,
    identity: reachability.identity ?? access?.identity ?? IDENTITY_KEEPER,
  };
}

export const proveReady: Step = {
  label: 'waiting until it answers',
  async perform(input) {
    const { engine, extension, record } = input;
    let silentSinceMs = engine.clock.nowMs();
    for (let pollMs = POLL_FIRST_MS; ; pollMs = Math.min(pollMs * 2, POLL_MAX_MS)) {
      const seen = await observe(engine, extension, referenceOf(record), input.signal);
      if (seen.kind !== 'unknown') silentSinceMs = engine.clock.nowMs();
      const ended = endedEarly(seen) ?? patienceEnded(input, seen, silentSinceMs);
      if (ended !== null) throw ended;
      if (seen.kind === 'present' && seen.state === 'running') {
        const reachability = pointToTunnel(
          input,
          await extension.reachability({ ...referenceOf(record), handle: seen.handle }),
        );
        const observed = { state: seen.state, atMs: engine.clock.nowMs(), detail: seen.detail };
        return { change: { patch: { handle: seen.handle, reachability, observed } }, provisional: true };
      }
      await engine.clock.sleep(pollMs, input.signal);
    }
  },
};

export const measureHostBefore: Step = {
  label: 'measuring the host',
  async perform(input) {
    const before = await measureHost(input);
    return { change: { patch: { hostBefore: before } }, provisional: true };
  },
};

export const introspect: Step = {
  label: 'proving it from inside',
  async perform(input) {
    return { change: { patch: { telemetry: await collectTelemetry(input) } }, provisional: true };
  },
};

/**
 * The backend's switch was set at the request, for a large restore far later; where getting ready took long, or could have,
 * it is moved to fit `expiresAtMs`.
 */
async function alignOwnDeadline(input: StepInput, tookMs: number): Promise<void> {
  const { engine, extension, record } = input;
  const isFitting = restoreExtraMsOf(record) === 0 && tookMs < engine.settings.ownDeadlineMarginMs / 2;
  if (extension.setOwnDeadline === undefined || isFitting) return;
  await extension.setOwnDeadline(referenceOf(record), ownDeadlineMs(input), input.signal);
}

export const becomeReady: Step = {
  label: 'recording',
  async perform(input) {
    const { engine, record, run } = input;
    const readyAtMs = engine.clock.nowMs();
    const tookMs = readyAtMs - run.startedAtMs;
    await alignOwnDeadline(input, tookMs);
    engine.routing.succeeded(venueKey(venueOf(record)), tookMs);
    return {
      provisional: false,
      change: {
        lifecycle: ['ready_proven'],
        detail: {
          extension_id: record.extensionId,
          ...(record.spec.placement.host === null ? {} : { host: record.spec.placement.host }),
          took_ms: tookMs,
        },
        patch: {
          readyAtMs,
          expiresAtMs: initialDeadline(readyAtMs, record.ttlMs, record.ttlMaxMs),
          lastActivityAtMs: readyAtMs,
          attention: null,
        },
      },
    };
  },
};
