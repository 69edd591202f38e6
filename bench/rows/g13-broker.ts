/** G13: what the broker itself adds to a create: the backend answers at once and does nothing. */
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { openDatabase } from '../../src/adapters/store-sqlite/connection.ts';
import { LocalTransport } from '../../src/faces/library/local-transport.ts';
import { compose } from '../../src/main.ts';
import { SocketClient } from '../kit/http.ts';
import { runRounds } from '../kit/rounds.ts';
import { atMost, type Bench, type Row, resultOf, told } from '../kit/row.ts';
import { createSandbox, STUB as STUB_PROFILE, timed } from '../kit/sandboxes.ts';
import { newHome, scratchDirectory, startServer } from '../kit/server-process.ts';
import { summarize } from '../kit/stats.ts';
import { STUB } from '../stub-extension.ts';

const OURS = 'create over HTTP, stub backend, durable record';
const IN_PROCESS = 'create in process, the same otherwise';
const BARE = 'bare node:http hop';
const COMMIT = 'one SQLite row, synchronous = FULL';
const OPEN_LOOP_SECONDS = 5;
const RATES = [250, 1_000];
/** One after the other in each turn, so that no contender pays for the caches that another has filled. */
const TURN_CREATES = 20;
/** Of a record and its events. */
const ROW_BYTES = 2_000;

interface Generated {
  readonly valuesMs: readonly number[];
  readonly behindMs: readonly number[];
  readonly failed: number;
  readonly firstFailure: string | null;
  readonly total: number;
  readonly tookMs: number;
}

function generate(socket: string, perSecond: number, seconds: number): Promise<Generated> {
  const program = join(import.meta.dirname, '..', 'generator.ts');
  const words = [program, socket, String(perSecond), String(seconds), STUB_PROFILE];
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
    });
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0
        ? resolve(JSON.parse(text) as Generated)
        : reject(new Error(`the generator ended with ${code}`)),
    );
  });
}

async function bareHop(bench: Bench): Promise<SocketClient> {
  const socket = join(scratchDirectory(bench, 'bare'), 'bare.sock');
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => response.end('{}'));
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const client = new SocketClient(socket);
  bench.atEnd(() => {
    client.close();
    server.close();
  });
  return client;
}

/** The engine of the server, asked without a server. */
async function inProcess(bench: Bench): Promise<() => Promise<unknown>> {
  const environment = { SANDBOXER_HOME: newHome(bench, 'in-process'), SANDBOXER_SLOTS: '100000000' };
  const transport = new LocalTransport(await compose({ environment, staysUp: true, installed: [STUB] }));
  bench.atEnd(() => transport.close());
  return () => transport.call('create', { profile: STUB_PROFILE });
}

function bareCommit(bench: Bench): () => Promise<unknown> {
  const database = openDatabase(join(scratchDirectory(bench, 'commit'), 'bare.sqlite'));
  bench.atEnd(() => database.close());
  database.exec('PRAGMA synchronous = FULL');
  database.exec('CREATE TABLE thing (id INTEGER PRIMARY KEY, document TEXT)');
  const insert = database.prepare('INSERT INTO thing (document) VALUES (?)');
  const text = 'x'.repeat(ROW_BYTES);
  return async () => insert.run(text);
}

/** How long one takes, of those of a turn. */
async function timedTurn(work: () => Promise<unknown>): Promise<number> {
  const tookMs = await timed(async () => {
    for (let index = 0; index < TURN_CREATES; index += 1) await work();
  });
  return tookMs / TURN_CREATES;
}

async function openLoop(bench: Bench, socket: string, perSecond: number) {
  const seconds = bench.isQuick ? 2 : OPEN_LOOP_SECONDS;
  const answer = await generate(socket, perSecond, seconds);
  const name = `${OURS}, open loop ${perSecond} a second`;
  const values = [...answer.valuesMs, ...Array.from({ length: answer.failed }, () => null)];
  const reached = (answer.valuesMs.length * 1_000) / answer.tookMs;
  return {
    name,
    values,
    firstFailure: answer.firstFailure,
    reached,
    perSecond,
    behindMs: summarize(answer.behindMs).p99,
  };
}

export const g13: Row = {
  id: 'G13',
  title: 'what the broker adds to a create',
  async run(bench) {
    const server = await startServer(bench, { home: newHome(bench, 'broker'), isStub: true });
    const { client } = server;
    const bare = await bareHop(bench);
    const commit = bareCommit(bench);
    const create = await inProcess(bench);
    const rounds = await runRounds(
      [
        { name: OURS, run: () => timedTurn(() => createSandbox(client, STUB_PROFILE)) },
        {
          name: BARE,
          isReference: true,
          run: () => timedTurn(() => bare.json('POST', '/', { profile: STUB_PROFILE })),
        },
        { name: IN_PROCESS, run: () => timedTurn(create) },
        { name: COMMIT, run: () => timedTurn(commit) },
      ],
      { rounds: bench.rounds, warmUp: 10 },
    );
    const loops = [];
    for (const rate of RATES) loops.push(await openLoop(bench, server.socketPath, rate));
    const p50 = (name: string) =>
      summarize(rounds.series.find((one) => one.name === name)!.values.filter((value) => value !== null)).p50;
    const floorMs = p50(BARE) + p50(COMMIT);
    const last = loops.at(-1)!;
    const lastSummary = summarize(last.values.filter((value) => value !== null));
    return resultOf(
      { ...rounds, series: [...rounds.series, ...loops] },
      {
        judgements: [
          atMost('added in process, p50', p50(IN_PROCESS), 'ms', [0.5, 0.5]),
          atMost('added over HTTP, p50 less the bare hop', p50(OURS) - p50(BARE), 'ms', [0.5, 0.5]),
          atMost('open loop 1,000 a second, p99', lastSummary.p99, 'ms', [2, 2]),
          ...loops.map(({ perSecond, reached }) =>
            told(`answered at ${perSecond} a second asked`, reached, '/s'),
          ),
        ],
        floors: [
          {
            what: 'a bare hop and one bare commit: intent and result share a flush',
            value: floorMs,
            unit: 'ms',
            distance: p50(OURS) / floorMs,
          },
        ],
        notes: [
          `${TURN_CREATES} one after the other in each turn; the stub backend itself takes no time`,
          'the generator is a process of its own; each request is timed from when it was due, so a time can be up to 1 ms too long',
          ...loops.map(
            ({ perSecond, behindMs }) =>
              `at ${perSecond} a second, sending was behind by ${behindMs.toFixed(1)} ms (p99)`,
          ),
        ],
      },
    );
  },
};
