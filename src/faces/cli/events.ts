import { createSystemClock } from '../../adapters/clock/system-clock.ts';
import { isOver } from '../../domain/sandbox/lifecycle.ts';
import type { EventView } from '../../operations/view.ts';
import { connectTransport } from '../library/connect.ts';
import { onInterrupt } from './interrupt.ts';
import { eventLine } from './render/events.ts';
import type { Values } from './spec.ts';
import type { Terminal } from './terminal.ts';

const LOOK_AGAIN_MS = 500;

interface EventsInput {
  readonly id: string;
  readonly after?: number;
  readonly follow?: boolean;
}

async function print(event: EventView, terminal: Terminal): Promise<void> {
  await terminal.out(`${terminal.json ? JSON.stringify(event) : eventLine(event, terminal)}\n`);
}

/** Prints what there is, and, from a server, what comes. Answers the last sequence, and whether it is over. */
async function printOnce(
  input: EventsInput,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<{ readonly after: number; readonly over: boolean }> {
  const transport = await connectTransport();
  let after = input.after ?? 0;
  let over = input.follow !== true;
  try {
    const follow = input.follow === true && !transport.embedded;
    for await (const event of transport.events({ ...input, after, follow }, signal)) {
      await print(event, terminal);
      after = event.sequence ?? after;
      if (event.state !== null && isOver(event.state)) over = true;
    }
    return { after, over: over || follow };
  } finally {
    await transport.close();
  }
}

/**
 * One JSON object a line, or one readable line each. Without a server, following looks again and again, so that
 * other commands get at the home in between.
 */
export async function runEvents(values: Values, terminal: Terminal): Promise<number> {
  const input = values as unknown as EventsInput;
  const leaving = new AbortController();
  const interrupts = onInterrupt(
    () => leaving.abort(),
    () => undefined,
  );
  const clock = createSystemClock();
  try {
    for (let after = input.after ?? 0; ; ) {
      const seen = await printOnce({ ...input, after }, terminal, leaving.signal);
      if (seen.over) return 0;
      after = seen.after;
      await clock.sleep(LOOK_AGAIN_MS, leaving.signal);
    }
  } catch (error) {
    if (leaving.signal.aborted) return 0;
    throw error;
  } finally {
    interrupts.stop();
  }
}
