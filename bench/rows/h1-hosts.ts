/** H1 and H2: stacks on a host over SSH, against the plain programs over the same kind of connection. Needs root: a lab. */
import { stringify } from 'yaml';
import { WEB_IMAGE } from '../../test/lab/images.ts';
import { ratioBetween, runRounds } from '../kit/rounds.ts';
import { atMost, type Row, resultOf } from '../kit/row.ts';
import { createSandbox, destroySandbox, execInside, timed } from '../kit/sandboxes.ts';
import { openStackHost, run, STACK_PROFILE_ID, type StackHost } from '../kit/stack-host.ts';

const OURS_CREATE = 'sand-boxer create to ready, over HTTP';
const PLAIN_UP = 'ssh (shared connection) docker compose up -d';
const OURS_EXEC = 'sand-boxer exec over HTTP';
const PLAIN_EXEC = 'new ssh, docker exec';
const SHARED_EXEC = 'ssh (shared connection), docker exec';

/** The same one service, written by hand. */
const COMPOSE = stringify({
  services: {
    canary: {
      image: WEB_IMAGE,
      command: ['sh', '-c', 'trap "exit 0" TERM INT; while :; do sleep 3600 & wait $$!; done'],
      init: true,
    },
  },
});

async function plainUp({ shared, host }: StackHost, number: number): Promise<number> {
  const project = `plain-${number}`;
  const directory = `/tmp/${project}`;
  const tookMs = await timed(async () => {
    const file = `${directory}/compose.yaml`;
    await run(
      [...shared, `mkdir ${directory} && cat >${file} && docker compose -p ${project} -f ${file} up -d`],
      COMPOSE,
    );
  });
  await host.docker('rm', '-f', `${project}-canary-1`);
  await host.docker('network', 'rm', `${project}_default`);
  return tookMs;
}

export const h1: Row = {
  id: 'H1',
  title: 'a stack of one service on a host over SSH, create to ready',
  async run(bench) {
    const place = await openStackHost(bench);
    let number = 0;
    const ours = async () => {
      const beganAtMs = performance.now();
      const id = await createSandbox(place.server.client, STACK_PROFILE_ID);
      const tookMs = performance.now() - beganAtMs;
      await destroySandbox(place.server.client, id);
      return tookMs;
    };
    const plain = () => {
      number += 1;
      return plainUp(place, number);
    };
    const rounds = await runRounds(
      [
        { name: OURS_CREATE, run: ours },
        { name: PLAIN_UP, isReference: true, run: plain },
      ],
      { rounds: bench.heavyRounds, warmUp: 1 },
    );
    return resultOf(rounds, {
      judgements: [
        atMost('against plain Compose', ratioBetween(rounds, OURS_CREATE, PLAIN_UP), '×', [1.3, null]),
      ],
      floors: [],
      notes: ['one loopback host in namespaces; ours has record, reaper, limits and the proof that it runs'],
    });
  },
};

export const h2: Row = {
  id: 'H2',
  title: 'one command in a stack on a host over SSH',
  async run(bench) {
    const place = await openStackHost(bench);
    const { client } = place.server;
    const id = await createSandbox(client, STACK_PROFILE_ID);
    bench.atEnd(() => destroySandbox(client, id));
    const container = (await place.host.containers())[0]!.name;
    const rounds = await runRounds(
      [
        { name: OURS_EXEC, run: () => timed(() => execInside(client, id, ['true'])) },
        {
          name: PLAIN_EXEC,
          isReference: true,
          run: () => timed(() => run([...place.fresh, `docker exec ${container} true`])),
        },
        {
          name: SHARED_EXEC,
          run: () => timed(() => run([...place.shared, `docker exec ${container} true`])),
        },
      ],
      { rounds: bench.heavyRounds, warmUp: 2 },
    );
    return resultOf(rounds, {
      judgements: [
        atMost('against a new ssh and docker exec', ratioBetween(rounds, OURS_EXEC, PLAIN_EXEC), '×', [
          1 / 3,
          null,
        ]),
      ],
      floors: [],
      notes: ['one loopback host in namespaces'],
    });
  },
};
