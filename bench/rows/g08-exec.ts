/** G8: one command in a sandbox that runs, through the HTTP API. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSystemClock } from '../../src/adapters/clock/system-clock.ts';
import { backendName } from '../../src/domain/ids.ts';
import { Boxes } from '../../src/extensions/local/client.ts';
import type { AgentClient } from '../../src/extensions/local/native/agent-client.ts';
import { connectAgent } from '../../src/extensions/local/native/agent-client.ts';
import { DOCKER_ABSENT, findDocker } from '../kit/docker.ts';
import { SocketClient } from '../kit/http.ts';
import { ratioBetween, runRounds } from '../kit/rounds.ts';
import { atMost, type Bench, type Row, resultOf } from '../kit/row.ts';
import { createSandbox, execInside, LOCAL, timed } from '../kit/sandboxes.ts';
import { newHome, scratchDirectory, startServer, stopProcess } from '../kit/server-process.ts';
import { summarize } from '../kit/stats.ts';

const OURS = 'sand-boxer exec over HTTP';
const AGENT = 'resident agent, spoken to directly';
const HOP = 'resident agent behind one bare HTTP hop';
const DOCKER = 'Docker API exec';
const COMMAND = ['/bin/true'];
const TURNS = 5;

async function execByAgent(agent: AgentClient): Promise<void> {
  const session = await agent.exec({ argv: COMMAND });
  for await (const _ of session.output) {
    // it says nothing
  }
  const { exitCode } = await session.exit;
  if (exitCode !== 0) throw new Error(`ended with ${exitCode}`);
}

async function startHop(bench: Bench, agentSocket: string, token: Uint8Array): Promise<SocketClient> {
  const socket = join(scratchDirectory(bench, 'hop'), 'hop.sock');
  const program = join(import.meta.dirname, '..', 'agent-hop.ts');
  const hop = spawn(process.execPath, [program, socket, agentSocket, Buffer.from(token).toString('hex')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  bench.atEnd(() => stopProcess(hop));
  await once(hop.stdout, 'data');
  const client = new SocketClient(socket);
  bench.atEnd(() => client.close());
  return client;
}

/** The median of a few, so that one turn is longer than the clock's and the scheduler's whims. */
async function few(once: () => Promise<unknown>): Promise<number> {
  const values: number[] = [];
  for (let turn = 0; turn < TURNS; turn += 1) values.push(await timed(once));
  return summarize(values).p50;
}

export const g8: Row = {
  id: 'G8',
  title: 'exec round trip, `/bin/true` in a running sandbox',
  async run(bench) {
    const server = await startServer(bench, { home: newHome(bench, 'exec') });
    const { client } = server;
    const id = await createSandbox(client, LOCAL);
    bench.atEnd(() => client.json('DELETE', `/v1/sandboxes/${id}`).then(() => undefined));
    const boxesDirectory = join(server.home, 'extensions', 'ext.local', 'boxes');
    const boxes = new Boxes(boxesDirectory, readFileSync(join(server.home, 'secret')), createSystemClock());
    const name = backendName(id, 1);
    /* Without a clock, so that each command makes a connection, as a client without our pool would. */
    const agent = connectAgent({
      socketPath: join(boxes.path(name), 'agent.sock'),
      token: boxes.token(name),
    });
    const hop = await startHop(bench, join(boxes.path(name), 'agent.sock'), boxes.token(name));
    const docker = await findDocker(bench);
    const container = docker === null ? null : await docker.create();
    if (docker !== null && container !== null) bench.atEnd(() => docker.remove(container));
    const byHop = async () => {
      const answer = await hop.json<{ exit_code: number }>('POST', '/', { command: COMMAND });
      if (answer.exit_code !== 0) throw new Error('not 0');
    };
    const rounds = await runRounds(
      [
        { name: OURS, run: () => few(() => execInside(client, id, COMMAND)) },
        { name: AGENT, isReference: true, run: () => few(() => execByAgent(agent)) },
        { name: HOP, run: () => few(byHop) },
        ...(docker === null || container === null
          ? []
          : [{ name: DOCKER, run: () => few(() => docker.exec(container, COMMAND)) }]),
      ],
      { rounds: bench.rounds, warmUp: 5 },
    );
    const p50 = (wanted: string) =>
      summarize(rounds.series.find((one) => one.name === wanted)!.values.filter((value) => value !== null))
        .p50;
    return resultOf(rounds, {
      judgements: [
        atMost(
          'against the resident agent, median of ratios',
          ratioBetween(rounds, OURS, AGENT),
          '×',
          [2, 1.5],
        ),
        ...(docker === null
          ? []
          : [atMost('against Docker API exec', ratioBetween(rounds, OURS, DOCKER), '×', [1 / 10, 1 / 20])]),
      ],
      floors: [AGENT, HOP].map((what) => ({
        what,
        value: p50(what),
        unit: 'ms' as const,
        distance: ratioBetween(rounds, OURS, what),
      })),
      notes: [`each value is the median of ${TURNS} in a row`, ...(docker === null ? [DOCKER_ABSENT] : [])],
    });
  },
};
