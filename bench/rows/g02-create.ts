/** G1 and G2: from the request for a sandbox to the end of the first command in it. */
import { rawBubblewrap } from '../kit/bubblewrap.ts';
import { DOCKER_ABSENT, type DockerEngine, findDocker } from '../kit/docker.ts';
import { type Rounds, ratioBetween, runRounds } from '../kit/rounds.ts';
import { atMost, type Bench, type Judgement, type Row, type RowResult, resultOf, told } from '../kit/row.ts';
import { createSandbox, destroySandbox, execInside, LOCAL, timed } from '../kit/sandboxes.ts';
import { newHome, type RunningServer, startServer } from '../kit/server-process.ts';
import { summarize } from '../kit/stats.ts';

const OURS = 'sand-boxer, fresh sandbox over HTTP';
const CREATE = 'sand-boxer, its create alone';
const BWRAP = 'raw bwrap';
const DOCKER = 'Docker API create + start + exec';
const COLD = 'sand-boxer, the first of a new server';

interface Goals {
  readonly bubblewrap: readonly [least: number, moonshot: number];
  readonly docker: readonly [least: number, moonshot: number];
}

async function oursOnce(client: RunningServer['client'], command: readonly string[], creates: number[]) {
  const beganAtMs = performance.now();
  const id = await createSandbox(client, LOCAL);
  creates.push(performance.now() - beganAtMs);
  await execInside(client, id, command);
  const tookMs = performance.now() - beganAtMs;
  await destroySandbox(client, id);
  return tookMs;
}

/** A server that was just started; its first create, with everything it loads and proves then. */
async function coldOnce(bench: Bench, home: string, command: readonly string[]): Promise<number> {
  const server = await startServer(bench, { home });
  try {
    return await oursOnce(server.client, command, []);
  } finally {
    server.client.close();
    await server.stop();
  }
}

function judge(rounds: Rounds, goals: Goals, docker: DockerEngine | null): Judgement[] {
  const against = (name: string, limits: Goals['docker']) =>
    atMost(`against ${name}, median of the rounds' ratios`, ratioBetween(rounds, OURS, name), '×', limits);
  return [against(BWRAP, goals.bubblewrap), ...(docker === null ? [] : [against(DOCKER, goals.docker)])];
}

async function race(bench: Bench, command: readonly string[], goals: Goals): Promise<RowResult> {
  const server = await startServer(bench, { home: newHome(bench, 'create') });
  const bubblewrap = rawBubblewrap(bench);
  const docker = await findDocker(bench);
  const creates: number[] = [];
  const rounds = await runRounds(
    [
      { name: OURS, run: () => oursOnce(server.client, command, creates) },
      { name: BWRAP, isReference: true, run: () => timed(() => bubblewrap.run(command)) },
      ...(docker === null ? [] : [{ name: DOCKER, run: () => docker.createStartExec(command) }]),
    ],
    { rounds: bench.rounds, warmUp: 3 },
  );
  await server.stop();
  const floorMs = summarize(
    rounds.series.find(({ name }) => name === BWRAP)!.values.filter((v) => v !== null),
  ).p50;
  const measuredCreates = { name: CREATE, values: creates.slice(3), firstFailure: null };
  return resultOf(
    { ...rounds, series: [...rounds.series, measuredCreates] },
    {
      judgements: judge(rounds, goals, docker),
      floors: [{ what: BWRAP, value: floorMs, unit: 'ms', distance: ratioBetween(rounds, OURS, BWRAP) }],
      notes: [
        'no pool: each round makes a fresh sandbox and destroys it outside the timed part; the record is durable',
        ...(docker === null ? [DOCKER_ABSENT] : [`Docker ${docker.version}`]),
      ],
    },
  );
}

export const g1: Row = {
  id: 'G1',
  title: 'create to the end of the first command, `node -v`',
  async run(bench) {
    const command = ['node', '-v'];
    const warm = await race(bench, command, { bubblewrap: [1.5, 1], docker: [1 / 10, 1 / 25] });
    const home = newHome(bench, 'cold');
    await coldOnce(bench, home, command);
    const cold: number[] = [];
    for (let round = 0; round < Math.min(10, bench.heavyRounds); round += 1)
      cold.push(await coldOnce(bench, home, command));
    const series = { name: COLD, values: cold, firstFailure: null };
    return {
      ...warm,
      series: [...warm.series, series],
      notes: [...warm.notes, `${COLD}: measured after the rounds, not between them`],
      judgements: [...warm.judgements, told(`${COLD}, p50`, summarize(cold).p50, 'ms')],
    };
  },
};

export const g2: Row = {
  id: 'G2',
  title: 'create to the end of the first command, `/bin/true`',
  run: (bench) => race(bench, ['/bin/true'], { bubblewrap: [2, 1.3], docker: [1 / 8, 1 / 15] }),
};
