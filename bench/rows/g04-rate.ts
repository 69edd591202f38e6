/** G4: how many sandboxes a second come, run one command and go; and what each costs in processor time. */
import { Account } from '../kit/account.ts';
import { rawBubblewrap } from '../kit/bubblewrap.ts';
import { DOCKER_ABSENT, type DockerEngine, findDocker } from '../kit/docker.ts';
import { processorMs } from '../kit/process-facts.ts';
import { ratioBetween, runRounds } from '../kit/rounds.ts';
import { atLeast, type Bench, type Row, resultOf, told } from '../kit/row.ts';
import { createSandbox, destroySandbox, execInside, LOCAL } from '../kit/sandboxes.ts';
import { newHome, startServer } from '../kit/server-process.ts';

const OURS = 'sand-boxer create + exec + destroy';
const BWRAP = 'raw bwrap';
const DOCKER = 'Docker create + start + exec + rm -f';
const COMMAND = ['/bin/true'];
/** A slow opponent must finish some in a slice. */
const WORKERS = [2, 4];

interface Tally {
  done: number;
  failed: number;
  processorMs: number;
}

function newTally(): Tally {
  return { done: 0, failed: 0, processorMs: 0 };
}

/** Works with `workers` at once for `sliceMs`; answers how many a second were finished. */
async function slice(
  sliceMs: number,
  workers: number,
  tally: Tally,
  once: () => Promise<void>,
  clockMs: () => number,
): Promise<number> {
  const beganAtMs = performance.now();
  const processorBeganMs = clockMs();
  let done = 0;
  const work = async () => {
    while (performance.now() - beganAtMs < sliceMs) {
      try {
        await once();
        done += 1;
      } catch {
        tally.failed += 1;
      }
    }
  };
  await Promise.all(Array.from({ length: workers }, work));
  tally.done += done;
  tally.processorMs += clockMs() - processorBeganMs;
  return (done * 1_000) / (performance.now() - beganAtMs);
}

async function dockerOnce(docker: DockerEngine): Promise<void> {
  await docker.createStartExec(COMMAND);
}

async function rateWith(bench: Bench, workers: number, docker: DockerEngine | null) {
  const account = Account.open(`sandboxer-bench-${process.pid}-${workers}`);
  bench.atEnd(() => account?.close());
  const server = await startServer(bench, { home: newHome(bench, 'rate'), account });
  const bubblewrap = rawBubblewrap(bench);
  const sliceMs = bench.number('SANDBOXER_BENCH_SLICE_MS', 3_000, 1_000);
  const ours = newTally();
  const theirs = newTally();
  const cycle = async () => {
    const id = await createSandbox(server.client, LOCAL);
    await execInside(server.client, id, COMMAND);
    await destroySandbox(server.client, id);
  };
  const counted = () => account?.processorMs() ?? processorMs(server.pid);
  const own = () => processorMs('self');
  const rounds = await runRounds(
    [
      { name: OURS, run: () => slice(sliceMs, workers, ours, cycle, counted) },
      {
        name: BWRAP,
        isReference: true,
        run: () => slice(sliceMs, workers, theirs, () => bubblewrap.run(COMMAND), own),
      },
      ...(docker === null
        ? []
        : [{ name: DOCKER, run: () => slice(sliceMs, workers, newTally(), () => dockerOnce(docker), own) }]),
    ],
    { rounds: bench.heavyRounds, warmUp: 1 },
  );
  await server.stop();
  return { rounds, ours, theirs, hasAccount: account !== null };
}

export const g4: Row = {
  id: 'G4',
  title: 'sustained create + exec + destroy, with 2 and 4 workers',
  async run(bench) {
    const docker = await findDocker(bench);
    const results = [];
    for (const workers of WORKERS) results.push({ workers, ...(await rateWith(bench, workers, docker)) });
    const label = (name: string, workers: number) => `${name}, ${workers} workers`;
    const series = results.flatMap(({ workers, rounds }) =>
      rounds.series.map((one) => ({ ...one, name: label(one.name, workers) })),
    );
    const judgements = results.flatMap(({ workers, rounds, ours, theirs }) => [
      atLeast(label('against raw bwrap', workers), ratioBetween(rounds, OURS, BWRAP), '×', [0.6, 0.8]),
      ...(docker === null
        ? []
        : [atLeast(label('against Docker', workers), ratioBetween(rounds, OURS, DOCKER), '×', [10, 20])]),
      told(
        label('processor time a sandbox, client not counted', workers),
        ours.processorMs / ours.done,
        'ms',
      ),
      told(
        label('processor time a raw bwrap, its spawner counted', workers),
        theirs.processorMs / theirs.done,
        'ms',
      ),
      told(label('share that failed', workers), ours.failed / (ours.done + ours.failed), ''),
    ]);
    return resultOf(
      { series, selfDifference: Math.max(...results.map(({ rounds }) => rounds.selfDifference ?? 0)) },
      {
        seriesUnit: 'finished a second',
        judgements,
        notes: [
          'no pool; contenders take turns of one slice; the client shares the cores with the server',
          ...(results.every(({ hasAccount }) => hasAccount)
            ? []
            : ['no cgroup accounting here: only the server itself is counted, not its sandboxes']),
          ...(docker === null ? [DOCKER_ABSENT] : []),
        ],
      },
    );
  },
};
