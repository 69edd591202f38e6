/** G6: how long a destroy takes, and what many cycles leave behind. */
import { readdirSync } from 'node:fs';
import { Account } from '../kit/account.ts';
import { DOCKER_ABSENT, type DockerEngine, findDocker } from '../kit/docker.ts';
import { descriptorCount, mountCount, namespacesOf } from '../kit/process-facts.ts';
import { type Contender, type Rounds, ratioBetween, runRounds } from '../kit/rounds.ts';
import { atMost, type Judgement, type Row, resultOf, told } from '../kit/row.ts';
import { createSandbox, destroySandbox, execInside, LOCAL, timed } from '../kit/sandboxes.ts';
import { newHome, type RunningServer, startServer } from '../kit/server-process.ts';

const OURS = 'sand-boxer destroy, absence proven';
const DOCKER = 'docker rm -f through its API';
const DOCKER_COMMAND = 'docker rm -f, the command';
const WORKERS = 2;
const SETTLE_MS = 500;

type Counts = Readonly<Record<string, number>>;

function countAll(server: RunningServer, account: Account | null): Counts {
  const processes = account?.processes() ?? [server.pid];
  return {
    'mounts the server sees': mountCount(server.pid),
    cgroups: account?.groupCount() ?? 0,
    processes: processes.length,
    namespaces: namespacesOf(processes).size,
    'descriptors of the server': descriptorCount(server.pid),
    'files in the home': readdirSync(server.home, { recursive: true }).length,
  };
}

async function cycle(server: RunningServer): Promise<void> {
  const id = await createSandbox(server.client, LOCAL);
  await execInside(server.client, id, ['/bin/true']);
  await destroySandbox(server.client, id);
}

async function manyCycles(server: RunningServer, count: number): Promise<number> {
  let left = count;
  let failed = 0;
  const work = async () => {
    while (left > 0) {
      left -= 1;
      await cycle(server).catch(() => {
        failed += 1;
      });
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, work));
  return failed;
}

async function settle(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
}

async function residue(server: RunningServer, account: Account | null, cycles: number) {
  await manyCycles(server, 20);
  await settle();
  const before = countAll(server, account);
  const tookMs = await timed(async () => {
    const failed = await manyCycles(server, cycles);
    if (failed > 0) throw new Error(`${failed} of ${cycles} cycles failed`);
  });
  await settle();
  const after = countAll(server, account);
  const judgements: Judgement[] = Object.entries(after).map(([what, value]) =>
    atMost(`left after ${cycles} cycles: ${what}`, value - (before[what] ?? 0), '', [0, 0]),
  );
  return [...judgements, told(`those cycles, ${WORKERS} at once`, (cycles * 1_000) / tookMs, '/s')];
}

function dockerContenders(docker: DockerEngine): readonly Contender[] {
  const removing = (name: string, remove: (id: string) => Promise<void>): Contender => ({
    name,
    run: async () => {
      const id = await docker.create();
      return timed(() => remove(id));
    },
  });
  return [
    removing(DOCKER, (id) => docker.remove(id)),
    removing(DOCKER_COMMAND, (id) => docker.removeByCommand(id)),
  ];
}

function againstDocker(rounds: Rounds): readonly Judgement[] {
  return [DOCKER, DOCKER_COMMAND].map((opponent) =>
    atMost(`against ${opponent}`, ratioBetween(rounds, OURS, opponent), '×', [1 / 20, 1 / 20]),
  );
}

export const g6: Row = {
  id: 'G6',
  title: 'destroy, and what is left after many cycles',
  async run(bench) {
    const account = Account.open(`sandboxer-bench-${process.pid}`);
    bench.atEnd(() => account?.close());
    const server = await startServer(bench, { home: newHome(bench, 'destroy'), account });
    const docker = await findDocker(bench);
    const destroyOurs = async () => {
      const id = await createSandbox(server.client, LOCAL);
      await execInside(server.client, id, ['/bin/true']);
      return timed(() => destroySandbox(server.client, id));
    };
    const rounds = await runRounds(
      [
        { name: OURS, isReference: true, run: destroyOurs },
        ...(docker === null ? [] : dockerContenders(docker)),
      ],
      { rounds: bench.rounds, warmUp: 3 },
    );
    const cycles = bench.number('SANDBOXER_BENCH_CYCLES', 300, 60);
    const judgements = await residue(server, account, cycles);
    return resultOf(rounds, {
      judgements: [...(docker === null ? [] : againstDocker(rounds)), ...judgements],
      notes: [
        'every file of the store stays: ended sandboxes are remembered',
        'ours is through its API in both; the command of Docker starts a program',
        ...(account === null
          ? ['no cgroup accounting here: processes and cgroups of sandboxes not counted']
          : []),
        ...(docker === null ? [DOCKER_ABSENT] : []),
      ],
    });
  },
};
