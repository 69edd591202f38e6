import { z } from 'zod';
import { LIMITS } from '../domain/limits.ts';
import { isOver } from '../domain/sandbox/lifecycle.ts';
import type { SandboxRecord } from '../ports/store.ts';
import { visibleSandbox } from './access.ts';
import { events, type OperationContext } from './operation.ts';
import { sandboxIdField } from './sandboxes.ts';
import { type EventView, eventSchema, eventView } from './view.ts';

/** Hands over what a listener receives, in order, to a consumer that may be slower; the backlog is bounded. */
class Mailbox<Item> {
  readonly #items: Item[] = [];
  #wake: () => void = () => undefined;

  put(item: Item): void {
    if (this.#items.length < LIMITS.eventStreamBacklog) this.#items.push(item);
    this.#wake();
  }

  /** Waits for the next items; empty once the signal aborts. */
  async take(signal: AbortSignal): Promise<Item[]> {
    if (this.#items.length === 0 && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
    return this.#items.splice(0);
  }
}

/**
 * Stored events from `after` on; with `follow`, then new ones as they are committed and the steps under way
 * (sequence null, not stored), until the sandbox is destroyed or nobody listens any more.
 */
async function* stream(
  context: OperationContext,
  first: SandboxRecord,
  after: number,
  follow: boolean,
): AsyncIterable<EventView> {
  const { id } = first;
  const { store, bus, clock } = context.engine.context;
  const mailbox = new Mailbox<EventView>();
  const stops = [
    bus.onCommitted(({ record, events: committed }) => {
      if (record.id !== id) return;
      for (const event of committed) mailbox.put(eventView({ ...event, sandboxId: id }));
    }),
    bus.onProgress(({ sandboxId, step, attempt }) => {
      if (sandboxId !== id) return;
      const at = new Date(clock.nowMs()).toISOString();
      mailbox.put({
        sandbox_id: id,
        sequence: null,
        at,
        type: 'step',
        state: null,
        detail: { step, attempt },
      });
    }),
  ];
  try {
    let record = first;
    let seen = after;
    for (;;) {
      const page = await store.listEvents(id, seen, LIMITS.eventStreamBacklog);
      for (const event of page) yield eventView(event);
      seen = page.at(-1)?.sequence ?? seen;
      if (page.length < LIMITS.eventStreamBacklog) break;
    }
    while (follow && !context.signal.aborted && !isOver(record.state)) {
      for (const event of await mailbox.take(context.signal)) {
        if (event.sequence !== null && event.sequence <= seen) continue;
        seen = event.sequence ?? seen;
        yield event;
      }
      record = await visibleSandbox(context, id);
    }
  } finally {
    for (const stop of stops) stop();
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
    return stream(context, await visibleSandbox(context, id), after, follow);
  },
});
