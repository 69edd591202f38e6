import { z } from 'zod';
import type { SandboxerError } from '../domain/errors.ts';
import { LIMITS } from '../domain/limits.ts';
import { isOver } from '../domain/sandbox/lifecycle.ts';
import type { Bus, Progress } from '../engine/bus.ts';
import { visibleSandbox } from './access.ts';
import { events, type OperationContext } from './operation.ts';
import { sandboxIdField } from './sandboxes.ts';
import { type EventView, eventSchema, eventView } from './view.ts';

/** Wakes one waiter; rung while nobody waits, the next wait returns at once. */
class Bell {
  #rung = false;
  #wake: () => void = () => undefined;

  ring(): void {
    this.#rung = true;
    this.#wake();
  }

  async wait(): Promise<void> {
    if (!this.#rung) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#rung = false;
  }
}

/** What the engine tells about one sandbox between two looks at the store. */
class Listener {
  readonly bell = new Bell();
  progress: Progress | null;
  failure: SandboxerError | null = null;
  readonly #stops: readonly (() => void)[];

  constructor(bus: Bus, id: string, signal: AbortSignal) {
    this.progress = bus.stepUnderWay(id);
    const left = () => this.bell.ring();
    signal.addEventListener('abort', left, { once: true });
    this.#stops = [
      () => signal.removeEventListener('abort', left),
      bus.onCommitted(({ record }) => {
        if (record.id === id) this.bell.ring();
      }),
      bus.onProgress((progress) => {
        if (progress.sandboxId !== id) return;
        this.progress = progress;
        this.bell.ring();
      }),
      bus.onStopped(({ sandboxId, error }) => {
        if (sandboxId !== id) return;
        this.failure = error;
        this.bell.ring();
      }),
    ];
  }

  stop(): void {
    for (const stop of this.#stops) stop();
  }
}

function stepView(progress: Progress, atMs: number): EventView {
  const { sandboxId, step, attempt } = progress;
  const at = new Date(atMs).toISOString();
  return { sandbox_id: sandboxId, sequence: null, at, type: 'step', state: null, detail: { step, attempt } };
}

/**
 * Stored events from `after` on; with `follow`, then new ones as they are committed and the steps under way
 * (sequence null, not stored), until the sandbox is destroyed or nobody listens any more. Rejects where the engine
 * cannot go on with it.
 */
async function* stream(
  context: OperationContext,
  id: string,
  after: number,
  follow: boolean,
): AsyncIterable<EventView> {
  const { store, bus, clock } = context.engine.context;
  const listener = new Listener(bus, id, context.signal);
  let seen = after;
  try {
    for (;;) {
      const record = await visibleSandbox(context, id);
      for (const event of await store.listEvents(id, seen, LIMITS.eventPageSize)) {
        seen = event.sequence;
        yield eventView(event);
      }
      if (seen < record.eventSequence) continue;
      if (!follow || isOver(record.state)) return;
      const { progress, failure } = listener;
      listener.progress = null;
      if (progress !== null) yield stepView(progress, clock.nowMs());
      if (failure !== null) throw failure;
      await listener.bell.wait();
      if (context.signal.aborted) return;
    }
  } finally {
    listener.stop();
  }
}

export const sandboxEvents = events({
  name: 'events',
  summary: 'What happened to a sandbox, and, following, what happens',
  input: z.strictObject({
    id: sandboxIdField,
    after: z.coerce.number().int().min(0).default(0).describe('Only events after this sequence number'),
    follow: z.stringbool().or(z.boolean()).default(false).describe('Stay and stream new ones'),
  }),
  output: eventSchema,
  scope: 'read',
  effect: 'read',
  keyed: false,
  errors: ['not_found'],
  examples: ['sandboxer events <id>', 'sandboxer events <id> --follow'],
  http: { method: 'GET', path: '/v1/sandboxes/{id}/events' },
  cli: {
    command: ['events'],
    positional: ['id'],
    flags: { after: '--after <sequence>', follow: '--follow' },
  },
  async run(context, { id, after, follow }) {
    await visibleSandbox(context, id);
    return stream(context, id, after, follow);
  },
});
