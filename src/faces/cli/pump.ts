/** Moves bytes between this process and a running command, at the pace of the slower one. */
import { constants } from 'node:os';
import type { ExecExit, ExecSession } from '../../ports/extension.ts';
import { onInterrupt } from './interrupt.ts';
import { brokenSession } from './sessions.ts';
import { isReaderGone, type Terminal, write } from './terminal.ts';

export interface PumpOptions {
  readonly id: string;
  /** Standard input goes in. */
  readonly input: boolean;
  /** A terminal inside: keys go in as they are, Ctrl-C too. */
  readonly raw: boolean;
}

async function pumpInput(session: ExecSession): Promise<void> {
  for await (const chunk of process.stdin) await session.write(chunk as Uint8Array);
  session.closeInput();
}

async function pumpOutput(session: ExecSession): Promise<void> {
  for await (const { stream, data } of session.output) await write(process[stream], data);
}

function followSize(session: ExecSession): () => void {
  const resize = () => session.resize(process.stdout.columns, process.stdout.rows);
  process.stdout.on('resize', resize);
  return () => process.stdout.off('resize', resize);
}

function rawKeys(session: ExecSession): () => void {
  const { stdin } = process;
  if (stdin.isTTY !== true) return () => undefined;
  stdin.setRawMode(true);
  const stopFollowing = followSize(session);
  return () => {
    stopFollowing();
    stdin.setRawMode(false);
  };
}

/** Runs a session to its end and answers how it ended. */
export async function pump(
  session: ExecSession,
  terminal: Terminal,
  options: PumpOptions,
): Promise<ExecExit> {
  const restore = options.raw ? rawKeys(session) : () => undefined;
  const interrupts = onInterrupt(
    (signal) => session.sendSignal(constants.signals[signal]),
    () => {
      restore();
      session.close();
      terminal.complain(`Left ${options.id}; the command inside was ended.`);
    },
  );
  try {
    if (options.input) {
      // The command may end before its input does; how it ended is told by `exit`.
      pumpInput(session).catch(() => session.closeInput());
    }
    await pumpOutput(session);
    return await session.exit;
  } catch (error) {
    throw isReaderGone(error) ? error : brokenSession(error, options.id);
  } finally {
    restore();
    interrupts.stop();
    session.close();
    process.stdin.destroy();
  }
}
