/** Commands that ask once and print the answer. */

import { SandboxerError } from '../../domain/errors.ts';
import { connectTransport } from '../library/connect.ts';
import type { CallName } from '../library/transport.ts';
import { onInterrupt } from './interrupt.ts';
import { render } from './render/index.ts';
import type { CommandSpec, Values } from './spec.ts';
import type { Terminal } from './terminal.ts';

const EXIT_SOMETHING_FAILED = 1;

/** Answers that are no error, and yet say that not all is well. */
function exitCodeOf(answer: unknown): number {
  if (typeof answer !== 'object' || answer === null) return 0;
  if ('ok' in answer && answer.ok === false) return EXIT_SOMETHING_FAILED;
  if (!('results' in answer) || !Array.isArray(answer.results)) return 0;
  const results = answer.results as readonly { readonly result: string }[];
  return results.some(({ result }) => result === 'failed') ? EXIT_SOMETHING_FAILED : 0;
}

export async function runCall(spec: CommandSpec, values: Values, terminal: Terminal): Promise<number> {
  const transport = await connectTransport();
  const leaving = new AbortController();
  const interrupts = onInterrupt(
    () => leaving.abort(),
    () => undefined,
  );
  try {
    const answer: unknown = await transport.call(spec.operation as CallName, values as never, {
      signal: leaving.signal,
    });
    if (terminal.json) await terminal.outJson(answer);
    else await terminal.out(render(spec.operation, answer, terminal));
    return exitCodeOf(answer);
  } catch (error) {
    if (!leaving.signal.aborted) throw error;
    throw new SandboxerError('cancelled', 'Cancelled before it was finished.', {
      nextStep: transport.embedded
        ? 'What was begun stopped at a safe place; the same command finishes it.'
        : 'What was begun goes on in the server.',
      cause: error,
    });
  } finally {
    interrupts.stop();
    await transport.close();
  }
}
