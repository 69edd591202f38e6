/** One simulated extension over a directory of its own, with short ways to ask and to look behind it. */

import type { FaultRuleInput } from '../../src/extensions/simulated/config.ts';
import { createExtension } from '../../src/extensions/simulated/extension.ts';
import {
  type Extension,
  ExtensionError,
  type Handle,
  type Observation,
  type Reference,
} from '../../src/ports/extension.ts';
import { setFaults } from './simulated-backend.ts';
import { newName, simulatedContext, simulatedSpec, temporaryDirectory } from './simulated-harness.ts';
import { readSimulatedTruth, type SimulatedTruth } from './simulated-truth.ts';

const LIFE_MS = 600_000;

export class SimulatedFixture {
  readonly extension: Extension;
  readonly directory: string;
  readonly truth: SimulatedTruth;
  readonly signal = new AbortController().signal;

  constructor(extension: Extension, directory: string) {
    this.extension = extension;
    this.directory = directory;
    this.truth = readSimulatedTruth(directory);
  }

  arm(...rules: FaultRuleInput[]): void {
    setFaults(this.directory, rules);
  }

  reference(name: string = newName(), handle: Handle | null = null): Reference {
    return { name, epoch: 1, handle };
  }

  provision(
    name: string,
    configuration: Record<string, unknown> = {},
    ownDeadlineMs = LIFE_MS,
  ): Promise<Handle> {
    const spec = simulatedSpec({ configuration });
    const limits = { ownDeadlineMs, ownDeadlineCapMs: LIFE_MS };
    return this.extension.provision({
      name,
      epoch: 1,
      spec,
      tags: { owner: 'us' },
      signal: this.signal,
      ...limits,
    });
  }

  async made(): Promise<Reference> {
    const name = newName();
    return this.reference(name, await this.provision(name));
  }

  observe(reference: Reference): Promise<Observation> {
    return this.extension.observe(reference, this.signal);
  }

  /** `present:running`, `absent` or `unknown`. */
  async look(reference: Reference): Promise<string> {
    const seen = await this.observe(reference);
    return seen.kind === 'present' ? `present:${seen.state}` : seen.kind;
  }

  destroy(reference: Reference): Promise<void> {
    return this.extension.destroy(reference, this.signal);
  }

  /** Runs `echo` and answers what came out, in pieces. */
  async echo(reference: Reference, text: string): Promise<string[]> {
    const session = await this.extension.sessions!.exec(
      reference,
      {
        command: ['echo', text],
        environment: {},
        workingDirectory: null,
        user: 'user',
        terminal: null,
        stdin: false,
        timeoutMs: 0,
        outputLimitBytes: 0,
        detach: false,
      },
      this.signal,
    );
    const pieces: string[] = [];
    for await (const { data } of session.output) pieces.push(Buffer.from(data).toString('latin1'));
    return pieces;
  }

  async close(): Promise<void> {
    this.truth.close();
    await this.extension.close();
  }
}

/** With short time limits, so that silence is cheap. */
export async function simulatedFixture(
  environment: Readonly<Record<string, string>> = {},
  directory: string = temporaryDirectory(),
): Promise<SimulatedFixture> {
  const context = simulatedContext(directory, { SANDBOXER_SIMULATED_TIMEOUT_MS: '150', ...environment });
  return new SimulatedFixture(await createExtension(context), directory);
}

/** The kind of the error that `work` ends with, or `ok`. Anything but an ExtensionError is thrown on. */
export async function outcome(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'ok';
  } catch (error) {
    if (error instanceof ExtensionError) return error.kind;
    throw error;
  }
}
