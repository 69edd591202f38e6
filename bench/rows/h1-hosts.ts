/** H1 and H2: stacks on a host over SSH, against the plain programs over the same kind of connection. Needs root: a lab. */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { hostSchema } from '../../src/domain/host/host.ts';
import type { LabHost } from '../../test/lab/host.ts';
import { loadImages, WEB_IMAGE } from '../../test/lab/images.ts';
import { type Lab, startLab } from '../../test/lab/lab.ts';
import { ratioBetween, runRounds } from '../kit/rounds.ts';
import { atMost, type Bench, type Row, resultOf } from '../kit/row.ts';
import { createSandbox, destroySandbox, execInside, timed } from '../kit/sandboxes.ts';
import { newHome, type RunningServer, scratchDirectory, startServer } from '../kit/server-process.ts';

const PROFILE_ID = 'profile.bench-stack';
const PROFILE = `id: ${PROFILE_ID}
version: "1.0.0"
extension: ext.compose-ssh
isolation: {level: container}
network: {default: allow}
ttl: {default: 1h, max: 2h}
`;
const OURS_CREATE = 'sand-boxer create to ready, over HTTP';
const PLAIN_UP = 'ssh (shared connection) docker compose up -d';
const OURS_EXEC = 'sand-boxer exec over HTTP';
const PLAIN_EXEC = 'new ssh, docker exec';
const SHARED_EXEC = 'ssh (shared connection), docker exec';

interface Place {
  readonly lab: Lab;
  readonly host: LabHost;
  readonly server: RunningServer;
  /** Words of `ssh` to the host, over one connection that stays. */
  readonly shared: readonly string[];
  readonly fresh: readonly string[];
}

async function run(words: readonly string[], input = ''): Promise<void> {
  const child = spawn(words[0]!, words.slice(1), { stdio: ['pipe', 'ignore', 'pipe'] });
  let complaint = '';
  child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString('utf8')));
  child.stdin.end(input);
  const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  if (code !== 0) throw new Error(`${words.join(' ')} ended with ${code}: ${complaint}`);
}

async function openPlace(bench: Bench): Promise<Place> {
  const lab = await startLab({ hosts: 1 });
  bench.atEnd(() => lab.stop());
  const host = lab.hosts[0]!;
  await loadImages(host);
  const home = newHome(bench, 'hosts');
  writeFileSync(join(home, 'profiles', `${PROFILE_ID}.yaml`), PROFILE);
  const ssh = { user: host.user, address: host.address, port: host.port, key_file: lab.keyFile };
  const entry = hostSchema.parse({ name: host.name, ssh, base_directory: host.baseDirectory });
  writeFileSync(join(home, 'hosts.yaml'), stringify([entry]));
  process.env.SANDBOXER_SSH_CONFIG = lab.sshConfigFile;
  process.env.SANDBOXER_CANARY_IMAGE = WEB_IMAGE;
  const server = await startServer(bench, { home });
  const control = join(scratchDirectory(bench, 'ssh'), 'control');
  const plain = ['ssh', '-F', lab.sshConfigFile, '-i', lab.keyFile];
  const destination = `${host.user}@${host.address}`;
  const shared = [
    ...plain,
    '-o',
    `ControlPath=${control}`,
    '-o',
    'ControlMaster=auto',
    '-o',
    'ControlPersist=600',
  ];
  bench.atEnd(() => run([...shared, '-O', 'exit', destination]));
  return { lab, host, server, shared: [...shared, destination], fresh: [...plain, destination] };
}

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

async function plainUp({ shared, host }: Place, number: number): Promise<number> {
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
    const place = await openPlace(bench);
    let number = 0;
    const ours = async () => {
      const beganAtMs = performance.now();
      const id = await createSandbox(place.server.client, PROFILE_ID);
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
    const place = await openPlace(bench);
    const { client } = place.server;
    const id = await createSandbox(client, PROFILE_ID);
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
