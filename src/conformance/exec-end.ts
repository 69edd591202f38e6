/** How commands end: by their time, by a signal, by a closed session, or with their sandbox. */
import type { Reference } from '../ports/extension.ts';
import { type Bench, type CaseRow, describe, ensure, ensureContractError, NO_ABORT } from './bench.ts';
import { collect, run, shell, start } from './run.ts';

export const EXEC_END_CASES: readonly CaseRow[] = [
  {
    name: 'exec.timeout',
    guarantee: 'A command over its time is ended and reported as timed out.',
    async check(bench) {
      const made = await bench.running();
      const session = await start(bench, made, ['sleep', '60'], { timeoutMs: 300 });
      const { exit } = await bench.within(collect(bench, session), 'a command over its time');
      ensure(exit.timedOut && exit.exitCode !== 0, `it ended as ${JSON.stringify(exit)}`);
    },
  },
  {
    name: 'exec.close-ends-it',
    guarantee: 'Closing a session ends its command, and the thing is idle again.',
    async check(bench) {
      const made = await bench.running();
      const session = await start(bench, made, ['sleep', '60']);
      await expectBusy(bench, made);
      session.close();
      const ended = session.exit.catch((error: unknown) =>
        ensureContractError(error, 'the exit of a closed session'),
      );
      await bench.within(ended, 'the end of a closed command');
      await expectIdle(bench, made);
    },
  },
  {
    name: 'exec.signal',
    guarantee: 'A signal reaches the command and shows in how it ended.',
    async check(bench) {
      const made = await bench.running();
      const session = await start(bench, made, ['sleep', '60']);
      session.sendSignal(15);
      const { exit } = await bench.within(collect(bench, session), 'the end of a signalled command');
      ensure(
        exit.signal === 15 || exit.exitCode === 143,
        `after signal 15 it ended as ${JSON.stringify(exit)}`,
      );
    },
  },
  {
    name: 'exec.detached',
    guarantee: 'A detached command runs on after its session was closed, and its output is in the log.',
    check: checkDetached,
  },
  {
    name: 'exec.after-destroy',
    guarantee: 'In what is gone a command fails at once; one that was running ends.',
    async check(bench) {
      const made = await bench.running();
      const session = await start(bench, made, ['sleep', '60']);
      await bench.destroy(made);
      await bench.untilAbsent(made);
      const ended = session.exit.catch((error: unknown) =>
        ensureContractError(error, 'a command that lost its sandbox'),
      );
      await bench.within(ended, 'a command whose sandbox was destroyed');
      await bench.fails(() => run(bench, made, ['true']), 'exec after destroy');
    },
  },
];

async function checkDetached(bench: Bench): Promise<void> {
  const made = await bench.running();
  const session = await start(bench, made, shell('echo suite-started; sleep 1; echo suite-ended'), {
    detach: true,
  });
  session.close();
  const other = await bench.fresh();
  await bench.until(bench.callWithinMs, 'the log of a detached command', async () => {
    const pieces: Uint8Array[] = [];
    for await (const piece of await other.sessions!.logs(made, NO_ABORT)) pieces.push(piece.slice());
    const text = Buffer.concat(pieces).toString();
    return text.includes('suite-started') && text.includes('suite-ended') ? null : JSON.stringify(text);
  });
}

async function expectBusy(bench: Bench, made: Reference): Promise<void> {
  const seen = await bench.observe(made);
  ensure(seen.kind === 'present', describe(seen));
  const { activity } = seen;
  if (activity === null) return;
  ensure(
    activity.commandsRunning === 1 && activity.idleMs === 0,
    `while one runs: ${JSON.stringify(activity)}`,
  );
}

async function expectIdle(bench: Bench, made: Reference): Promise<void> {
  await bench.until(bench.callWithinMs, 'the thing to be idle', async () => {
    const seen = await bench.observe(made);
    ensure(seen.kind === 'present', describe(seen));
    return (seen.activity?.commandsRunning ?? 0) === 0 ? null : JSON.stringify(seen.activity);
  });
}
