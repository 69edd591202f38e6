/** G11: a flood of output through a library session, and what a slow reader costs the server. */
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { HttpTransport } from '../../src/faces/library/http-transport.ts';
import { type Sandbox, Sandboxer } from '../../src/faces/library/sandboxer.ts';
import { residentBytes } from '../kit/process-facts.ts';
import { ratioBetween, runRounds } from '../kit/rounds.ts';
import { atLeast, atMost, type Bench, type Row, resultOf } from '../kit/row.ts';
import { LOCAL } from '../kit/sandboxes.ts';
import { newHome, startServer } from '../kit/server-process.ts';

const OURS = 'sand-boxer, library session';
const PIPE = 'raw pipe from `head -c` in Node';
const MIB = 1024 * 1024;
const SLOW_PAUSE_MS = 10;
const SAMPLE_MS = 20;

function command(bytes: number): [string, ...string[]] {
  return ['head', '-c', String(bytes), '/dev/zero'];
}

function rate(bytes: number, tookMs: number): number {
  return bytes / MIB / (tookMs / 1_000);
}

async function drainSession(sandbox: Sandbox, bytes: number): Promise<number> {
  const beganAtMs = performance.now();
  const session = await sandbox.start(command(bytes));
  let received = 0;
  for await (const { data } of session.output) received += data.length;
  const { exitCode } = await session.exit;
  session.close();
  if (received !== bytes || exitCode !== 0)
    throw new Error(`${received} of ${bytes} bytes, exit ${exitCode}`);
  return rate(bytes, performance.now() - beganAtMs);
}

async function drainPipe(bytes: number): Promise<number> {
  const beganAtMs = performance.now();
  const [program, ...rest] = command(bytes);
  const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'ignore'] });
  let received = 0;
  for await (const chunk of child.stdout) received += (chunk as Buffer).length;
  if (received !== bytes) throw new Error(`${received} of ${bytes} bytes`);
  return rate(bytes, performance.now() - beganAtMs);
}

/** The most that the server grew while somebody read a flood in sips. */
async function slowReader(
  sandbox: Sandbox,
  serverPid: number,
  bytes: number,
  forMs: number,
): Promise<number> {
  const before = residentBytes(serverPid);
  let most = before;
  const session = await sandbox.start(command(bytes));
  const endsAtMs = performance.now() + forMs;
  const watching = (async () => {
    while (performance.now() < endsAtMs) {
      most = Math.max(most, residentBytes(serverPid));
      await sleep(SAMPLE_MS);
    }
  })();
  for await (const _ of session.output) {
    await sleep(SLOW_PAUSE_MS);
    if (performance.now() >= endsAtMs) break;
  }
  session.close();
  await watching;
  return (most - before) / MIB;
}

export const g11: Row = {
  id: 'G11',
  title: 'standard output, in bulk',
  async run(bench: Bench) {
    const bytes = bench.number('SANDBOXER_BENCH_STDOUT_MIB', 1_024, 256) * MIB;
    const server = await startServer(bench, { home: newHome(bench, 'stdout') });
    const library = new Sandboxer(new HttpTransport({ kind: 'socket', path: server.socketPath }));
    const sandbox = await library.create({ profile: LOCAL });
    bench.atEnd(() => sandbox.destroy().then(() => library.close()));
    const forMs = bench.isQuick ? 2_000 : 10_000;
    const grewMib = await slowReader(sandbox, server.pid, bytes, forMs);
    await drainSession(sandbox, 64 * MIB);
    const rounds = await runRounds(
      [
        { name: OURS, run: () => drainSession(sandbox, bytes) },
        { name: PIPE, isReference: true, run: () => drainPipe(bytes) },
      ],
      { rounds: bench.heavyRounds, warmUp: 1 },
    );
    return resultOf(rounds, {
      seriesUnit: 'MiB a second',
      judgements: [
        atLeast('against the raw pipe', ratioBetween(rounds, OURS, PIPE), '×', [0.6, 0.6]),
        atMost('growth of the server with a slow reader', grewMib, 'MiB', [64, 64]),
      ],
      notes: [
        `${bytes / MIB} MiB a turn; the slow reader takes a chunk every ${SLOW_PAUSE_MS} ms for ${forMs} ms`,
      ],
    });
  },
};
