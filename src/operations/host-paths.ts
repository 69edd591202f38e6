import { realpath } from 'node:fs/promises';
import { isAbsolute, sep } from 'node:path';
import { SandboxerError } from '../domain/errors.ts';
import type { OperationContext } from './operation.ts';

/** Inputs that name a path of the machine that serves. */
const PATH_INPUTS = ['repo', 'image'];

function refusal(input: string): SandboxerError {
  return new SandboxerError('forbidden', `This token may not name the path given as ${input}.`, {
    nextStep: 'Ask the operator to add its directory to SANDBOXER_INPUT_ROOTS.',
  });
}

/** The path with every link resolved, or null where there is none; which of the two is not told to the caller. */
async function resolved(path: string): Promise<string | null> {
  if (!isAbsolute(path)) return null;
  return realpath(path).catch(() => null);
}

/**
 * Only the owner of the home may name any path of this machine; others stay below the configured roots, links
 * resolved on both sides. Answers the inputs to go on with: what was checked is what will be read.
 */
export async function guardedInputs(
  context: OperationContext,
  inputs: Readonly<Record<string, string>>,
): Promise<Readonly<Record<string, string>>> {
  if (context.principal.operator) return inputs;
  const guarded: Record<string, string> = { ...inputs };
  for (const input of PATH_INPUTS) {
    const asked = inputs[input];
    if (asked === undefined) continue;
    const path = await resolved(asked);
    const roots = await Promise.all(context.installation.inputRoots.map(resolved));
    const allowed =
      path !== null && roots.some((root) => root !== null && `${path}${sep}`.startsWith(`${root}${sep}`));
    if (!allowed) throw refusal(input);
    guarded[input] = path;
  }
  return guarded;
}
