import { LIMITS } from '../../domain/limits.ts';
import { collectOutput } from '../../engine/telemetry.ts';
import type { ExecSession } from '../../ports/extension.ts';

/** What `POST …/exec` answers once the command has ended. Output is UTF-8, bounded; the rest is counted off. */
export interface ExecResult {
  readonly pid: number;
  readonly exit_code: number | null;
  readonly signal: number | null;
  readonly timed_out: boolean;
  readonly output_truncated: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/** Collects a session. A detached one is answered at once, with no exit code. */
export async function collectExec(
  session: ExecSession,
  input: Uint8Array | null,
  detach: boolean,
): Promise<ExecResult> {
  const nothing = { signal: null, timed_out: false, output_truncated: false, stdout: '', stderr: '' };
  if (detach) return { ...nothing, pid: session.pid, exit_code: null };
  try {
    const feeding = feed(session, input);
    const { stdout, stderr, truncated } = await collectOutput(session, LIMITS.execOutputBytesCollected);
    const exit = await session.exit;
    await feeding;
    return {
      pid: session.pid,
      exit_code: exit.exitCode,
      signal: exit.signal,
      timed_out: exit.timedOut,
      output_truncated: exit.outputTruncated || truncated,
      stdout,
      stderr,
    };
  } finally {
    session.close();
  }
}

/** A command that ends before it has read its input is no error. */
async function feed(session: ExecSession, input: Uint8Array | null): Promise<void> {
  if (input === null) return;
  try {
    await session.write(input);
    session.closeInput();
  } catch {
    await session.exit; // rejects where the connection itself was lost
  }
}
