/** The calls that the rows time, as a client makes them. */
import type { SocketClient } from './http.ts';

export const LOCAL = 'profile.local';
export const STUB = 'profile.stub';

interface ExecAnswer {
  readonly exit_code: number | null;
  readonly stdout: string;
}

export async function createSandbox(client: SocketClient, profile: string): Promise<string> {
  const { sandbox_id: id, state } = await client.json<{ sandbox_id: string; state: string }>(
    'POST',
    '/v1/sandboxes',
    { profile },
  );
  if (state !== 'ready') throw new Error(`the new sandbox is ${state}`);
  return id;
}

export async function execInside(
  client: SocketClient,
  id: string,
  command: readonly string[],
): Promise<string> {
  const answer = await client.json<ExecAnswer>('POST', `/v1/sandboxes/${id}/exec`, { command });
  if (answer.exit_code !== 0) throw new Error(`${command.join(' ')} ended with ${answer.exit_code}`);
  return answer.stdout;
}

export async function destroySandbox(client: SocketClient, id: string): Promise<void> {
  const { state } = await client.json<{ state: string }>('DELETE', `/v1/sandboxes/${id}`);
  if (state !== 'destroyed') throw new Error(`after destroy the sandbox is ${state}`);
}

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const beganAtMs = performance.now();
  await work();
  return performance.now() - beganAtMs;
}
