/** `create`: asks, follows the steps until the sandbox is settled, and cleans up when told to stop. */
import { randomUUID } from 'node:crypto';
import { asSandboxerError, type ErrorCode, SandboxerError } from '../../domain/errors.ts';
import type { SandboxView } from '../../operations/view.ts';
import { connectTransport } from '../library/connect.ts';
import type { Transport } from '../library/transport.ts';
import { onInterrupt } from './interrupt.ts';
import { type Progress, startProgress } from './progress.ts';
import { render } from './render/index.ts';
import type { Values } from './spec.ts';
import type { Terminal } from './terminal.ts';

interface Creating {
  readonly transport: Transport;
  readonly terminal: Terminal;
  readonly progress: Progress;
  /** Aborts at the first Ctrl-C. */
  readonly leaving: AbortSignal;
  id: string | null;
}

function isSettled(view: SandboxView): boolean {
  return view.run === null || view.needs_attention !== null;
}

/** Waits until no run works on it, showing the step under way. */
async function follow(creating: Creating, id: string): Promise<SandboxView> {
  const { transport, progress, leaving } = creating;
  const listening = new AbortController();
  const signal = AbortSignal.any([leaving, listening.signal]);
  try {
    for (;;) {
      for await (const event of transport.events({ id, follow: true }, signal)) {
        if (event.type === 'step') {
          progress.step(String(event.detail.step));
          continue;
        }
        const view = await transport.call('get', { id }, { signal });
        if (isSettled(view)) return view;
      }
      signal.throwIfAborted();
    }
  } finally {
    listening.abort();
  }
}

function failureOf(view: SandboxView): SandboxerError | null {
  if (view.failure === null) return null;
  const { code, message, cleaned_up } = view.failure;
  return new SandboxerError(code as ErrorCode, message, {
    sandboxId: view.sandbox_id,
    cleanedUp: cleaned_up ?? 'Not all of it could be removed yet; that is tried again by itself.',
    nextStep: `See what happened with: sandboxer events ${view.sandbox_id}`,
  });
}

interface Delta {
  readonly load_1m: number;
  readonly mem_available_mb: number;
}

/** The one line of the introspection report. Its form is fixed: programs look for it. */
function telemetryLine(telemetry: NonNullable<SandboxView['telemetry']>): string {
  const { provision_delta: delta, stale_candidates: stale } = telemetry as {
    provision_delta?: Delta | null;
    stale_candidates?: readonly unknown[];
  };
  const signed = (value: number, digits: number) => `${value < 0 ? '' : '+'}${value.toFixed(digits)}`;
  const load = delta == null ? 'n/a' : signed(delta.load_1m, 2);
  const memory = delta == null ? 'n/a' : `${signed(delta.mem_available_mb, 0)} MB`;
  return `Telemetry: load Δ ${load}, mem avail Δ ${memory}, stale candidates: ${stale?.length ?? 0}`;
}

async function print(view: SandboxView, terminal: Terminal): Promise<void> {
  if (terminal.json) await terminal.outJson(view);
  else await terminal.out(render('create', view, terminal));
}

/** The caller gave up: removes what was begun, and says so. */
async function takeBack(creating: Creating): Promise<SandboxerError> {
  const { transport, id, progress } = creating;
  if (id === null) return new SandboxerError('cancelled', 'Cancelled; nothing was begun.');
  progress.step(`removing ${id}`);
  try {
    await transport.call('destroy', { id });
    return new SandboxerError('cancelled', `Cancelled; the sandbox ${id} was removed.`, { sandboxId: id });
  } catch (error) {
    const why = asSandboxerError(error);
    return new SandboxerError(
      'cancelled',
      `Cancelled, but the sandbox ${id} is not removed: ${why.message}`,
      {
        sandboxId: id,
        nextStep: `Remove it with: sandboxer destroy ${id}`,
        cause: error,
      },
    );
  }
}

/** A server that went away in the middle goes on with the work, or takes it up when it starts again. */
function inDoubt(error: unknown, id: string | null): unknown {
  if (!(error instanceof SandboxerError) || error.code !== 'server_unreachable' || id === null) return error;
  return new SandboxerError('server_unreachable', `${error.message} The sandbox ${id} was begun there.`, {
    sandboxId: id,
    nextStep: `When the server is back: sandboxer get ${id}`,
    cause: error,
  });
}

async function establish(creating: Creating, values: Values): Promise<number> {
  const { transport, terminal, progress, leaving } = creating;
  const waits = values.wait !== false;
  const begun = await transport.call('create', { ...values, wait: false } as never, {
    idempotencyKey: randomUUID(),
  });
  creating.id = begun.sandbox_id;
  progress.step('provisioning');
  leaving.throwIfAborted();
  if (!waits) {
    await print(begun, terminal);
    if (!transport.embedded) return 0;
    terminal.say('No server is running, so this process finishes the work before it ends.');
  }
  const view = await follow(creating, begun.sandbox_id);
  progress.stop();
  const failure = failureOf(view);
  if (failure !== null) throw failure;
  if (waits) await print(view, terminal);
  if (view.telemetry !== null) terminal.say(telemetryLine(view.telemetry));
  return 0;
}

export async function runCreate(values: Values, terminal: Terminal): Promise<number> {
  const transport = await connectTransport();
  const progress = startProgress(terminal, 'asking');
  const leave = new AbortController();
  const creating: Creating = { transport, terminal, progress, leaving: leave.signal, id: null };
  const interrupts = onInterrupt(
    () => leave.abort(),
    () => {
      progress.stop();
      const remedy = creating.id === null ? 'sandboxer list' : `sandboxer destroy ${creating.id}`;
      terminal.complain(`Left at once; something may remain. Clean up with: ${remedy}`);
    },
  );
  try {
    return await establish(creating, values);
  } catch (error) {
    throw leave.signal.aborted ? await takeBack(creating) : inDoubt(error, creating.id);
  } finally {
    progress.stop();
    interrupts.stop();
    await transport.close();
  }
}
