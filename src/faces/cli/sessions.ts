/** Opening something long in a sandbox. */
import { SandboxerError } from '../../domain/errors.ts';
import { connectTransport } from '../library/connect.ts';
import type { Transport } from '../library/transport.ts';

/** Opens something, gives the home free for other commands, and works with it until it ends. */
export async function withOpened<Opened, Result>(
  open: (transport: Transport) => Promise<Opened>,
  use: (opened: Opened) => Promise<Result>,
): Promise<Result> {
  const transport = await connectTransport();
  try {
    const opened = await open(transport);
    await transport.detach();
    return await use(opened);
  } finally {
    await transport.close();
  }
}

/** What broke an open session, as an error that says how to go on. */
export function brokenSession(cause: unknown, id: string): SandboxerError {
  if (cause instanceof SandboxerError && cause.code !== 'internal') return cause;
  return new SandboxerError('sandbox_unreachable', `The session with ${id} broke off before it ended.`, {
    sandboxId: id,
    nextStep: `See what happened with: sandboxer get ${id}`,
    cause,
  });
}
