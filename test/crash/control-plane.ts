/** One process of the control plane, for the crash test: runs one request, and dies at a named point if told to. */
import { LocalTransport } from '../../src/faces/library/local-transport.ts';
import type { CallInput, CallName } from '../../src/faces/library/transport.ts';
import { compose } from '../../src/main.ts';
import type { CrashPoints } from '../../src/ports/crash-points.ts';

export interface ControlPlaneOrder {
  readonly operation: CallName;
  readonly input: Record<string, unknown>;
  readonly key: string;
  readonly crashAt: string | null;
  /** Resumes what an earlier process left, as a server does at its start. */
  readonly resume: boolean;
  /** Keeps a journal, as a server does. */
  readonly staysUp: boolean;
}

class Killer implements CrashPoints {
  readonly #point: string | null;

  constructor(point: string | null) {
    this.#point = point;
  }

  reached(point: string): void {
    if (point === this.#point) process.kill(process.pid, 'SIGKILL');
  }
}

const order = JSON.parse(process.argv[2] ?? '') as ControlPlaneOrder;
const composed = await compose({
  environment: process.env,
  crashPoints: new Killer(order.crashAt),
  staysUp: order.staysUp,
});
if (order.resume) await composed.engine.reconciler.resumeRuns();
const transport = new LocalTransport(composed);
let answer: unknown;
try {
  answer = await transport.call(order.operation, order.input as CallInput<CallName>, {
    idempotencyKey: order.key,
  });
} catch (error) {
  answer = { error: error instanceof Error ? error.message : String(error) };
}
process.stdout.write(JSON.stringify(answer));
await transport.close();
