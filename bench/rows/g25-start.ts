/** G25: how long until the server answers, and how long the command takes to say what it can. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { type Contender, ratioBetween, runRounds } from '../kit/rounds.ts';
import { atMost, type Bench, type Row, resultOf } from '../kit/row.ts';
import { newHome, scratchDirectory, stopProcess } from '../kit/server-process.ts';
import { summarize } from '../kit/stats.ts';

const SERVE = 'server, spawn to first 200';
const EMITTED = 'server from emitted JavaScript, spawn to first 200';
const BARE = 'bare node:http hello, spawn to first 200';
const NODE = 'node -e 0';
const HELP = './sandboxer --help';
const VERSION = './sandboxer version';
const ROOT = join(import.meta.dirname, '..', '..');
const PROGRAM = join(ROOT, 'sandboxer');
const EMITTED_PROGRAM = join(ROOT, 'dist', 'src', 'faces', 'cli', 'main.js');
const POLL_MS = 1;
const PATIENCE_MS = 20_000;
const HELLO =
  'require("node:http").createServer((_, response) => response.end("hello")).listen(process.argv[1])';

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const call = request({ socketPath, path: '/healthz' }, (response) => {
      response.resume();
      response.once('end', () => resolve(response.statusCode === 200));
    });
    call.once('error', () => resolve(false));
    call.end();
  });
}

async function untilAnswered(
  command: readonly [string, ...string[]],
  environment: Readonly<Record<string, string>>,
  socketPath: string,
): Promise<number> {
  const [program, ...rest] = command;
  const beganAtMs = performance.now();
  const child = spawn(program, rest, { env: { ...process.env, ...environment }, stdio: 'ignore' });
  try {
    while (!(await answers(socketPath))) {
      if (performance.now() - beganAtMs > PATIENCE_MS || child.exitCode !== null)
        throw new Error('no answer');
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    return performance.now() - beganAtMs;
  } finally {
    await stopProcess(child);
  }
}

function ends(program: string, words: readonly string[], environment: Readonly<Record<string, string>>) {
  const beganAtMs = performance.now();
  const child = spawn(program, words, { env: { ...process.env, ...environment }, stdio: 'ignore' });
  return new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) =>
      code === 0
        ? resolve(performance.now() - beganAtMs)
        : reject(new Error(`${words.join(' ')} ended with ${code}`)),
    );
  });
}

/** As the packed package runs it: no types to strip, and a cache of compiled code as the launcher gives. */
function emitted(home: string, socket: string, cache: string): Contender {
  const environment = { SANDBOXER_HOME: home, NODE_COMPILE_CACHE: cache };
  const command = [process.execPath, EMITTED_PROGRAM, 'serve', '--port', '0'] as const;
  return { name: EMITTED, run: () => untilAnswered(command, environment, socket) };
}

function serverContenders(bench: Bench, home: string): Contender[] {
  const socket = join(home, 'sandboxer.sock');
  const server = join(import.meta.dirname, '..', 'server.ts');
  const command: [string, ...string[]] = existsSync(PROGRAM)
    ? [PROGRAM, 'serve', '--port', '0']
    : [process.execPath, server];
  const directory = scratchDirectory(bench, 'hello');
  let turn = 0;
  return [
    { name: SERVE, run: () => untilAnswered(command, { SANDBOXER_HOME: home }, socket) },
    ...(existsSync(EMITTED_PROGRAM) ? [emitted(home, socket, scratchDirectory(bench, 'cache'))] : []),
    {
      name: BARE,
      isReference: true,
      run() {
        turn += 1;
        const path = join(directory, `${turn}.sock`);
        return untilAnswered([process.execPath, '-e', HELLO, path], {}, path);
      },
    },
  ];
}

export const g25: Row = {
  id: 'G25',
  title: 'start of the server and of the command',
  async run(bench: Bench) {
    const home = newHome(bench, 'start');
    const environment = { SANDBOXER_HOME: home };
    const hasProgram = existsSync(PROGRAM);
    const hasEmitted = existsSync(EMITTED_PROGRAM);
    const contenders: Contender[] = [
      ...serverContenders(bench, home),
      { name: NODE, run: () => ends(process.execPath, ['-e', '0'], {}) },
    ];
    if (hasProgram) {
      contenders.push({ name: HELP, run: () => ends(PROGRAM, ['--help'], environment) });
      contenders.push({ name: VERSION, run: () => ends(PROGRAM, ['version'], environment) });
    }
    const rounds = await runRounds(contenders, { rounds: bench.rounds, warmUp: 2 });
    const p50 = (name: string) =>
      summarize(
        (rounds.series.find((one) => one.name === name)?.values ?? []).filter((value) => value !== null),
      ).p50;
    return resultOf(rounds, {
      judgements: [
        atMost('server against the bare one', ratioBetween(rounds, SERVE, BARE), '×', [3, 3]),
        ...(hasEmitted
          ? [atMost('from emitted JavaScript', ratioBetween(rounds, EMITTED, BARE), '×', [3, 3])]
          : []),
        ...(hasProgram ? [atMost(`${HELP}, p50`, p50(HELP), 'ms', [150, 150])] : []),
      ],
      floors: hasProgram
        ? [{ what: NODE, value: p50(NODE), unit: 'ms', distance: ratioBetween(rounds, HELP, NODE) }]
        : [],
      notes: [
        ...(hasProgram ? [] : ['there is no ./sandboxer here: the command not run']),
        ...(hasEmitted ? [] : ['emitted JavaScript not run: make it with node scripts/build-package.ts']),
      ],
    });
  },
};
