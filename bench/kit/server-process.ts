/** Starting and stopping the server under test. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Account } from './account.ts';
import { SocketClient } from './http.ts';
import type { Bench } from './row.ts';

/** On the disk of the repository, which is where a user's home would be too. */
export const SCRATCH = process.env.SANDBOXER_BENCH_DIRECTORY ?? '/tmp';
const SERVER = join(import.meta.dirname, '..', 'server.ts');
const STOP_PATIENCE_MS = 15_000;

const STUB_PROFILE = `id: profile.stub
version: "1.0.0"
description: Nothing, at once.
extension: ext.stub
isolation: {level: process}
ttl: {default: 1h, max: 24h, idle_reap: null}
metadata: {cost_class: self-hosted, latency_class: instant}
`;

export interface RunningServer {
  readonly home: string;
  readonly socketPath: string;
  readonly pid: number;
  readonly client: SocketClient;
  stop(): Promise<void>;
}

/** A directory of this run alone, removed when the row is over. */
export function scratchDirectory(bench: Bench, name: string): string {
  const directory = mkdtempSync(join(SCRATCH, `sandboxer-bench-${name}-`));
  bench.atEnd(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export function newHome(bench: Bench, name: string): string {
  const home = scratchDirectory(bench, name);
  mkdirSync(join(home, 'profiles'), { mode: 0o700 });
  writeFileSync(join(home, 'profiles', 'profile.stub.yaml'), STUB_PROFILE);
  return home;
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
      const end = text.indexOf('\n');
      if (end !== -1) resolve(text.slice(0, end));
    });
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the server ended with ${code} before it served`)));
  });
}

export function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_PATIENCE_MS);
    child.once('exit', () => {
      clearTimeout(timer);
      resolve();
    });
    child.kill('SIGTERM');
  });
}

export interface ServerOptions {
  readonly home: string;
  readonly isStub?: boolean;
  readonly account?: Account | null;
  readonly nodeArguments?: readonly string[];
}

/** Serves as `sandboxer serve` does, in a process of its own. */
export async function startServer(bench: Bench, options: ServerOptions): Promise<RunningServer> {
  const command = [
    process.execPath,
    ...(options.nodeArguments ?? []),
    SERVER,
    ...(options.isStub ? ['--stub'] : []),
  ];
  const join = (options.account?.files ?? []).map((file) => `echo $$ > ${file}; `).join('');
  const words = ['sh', '-c', `${join}exec "$@"`, 'sh', ...command];
  const started = await startTelling(bench, words, {
    SANDBOXER_HOME: options.home,
    SANDBOXER_SLOTS: '100000000',
  });
  return { home: options.home, ...started };
}

/** Starts what serves at a socket, and says at which one on its first line. */
export async function startTelling(
  bench: Bench,
  words: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Omit<RunningServer, 'home'>> {
  const child = spawn(words[0]!, words.slice(1), {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const stop = () => stopProcess(child);
  bench.atEnd(stop);
  const told = JSON.parse(await firstLine(child)) as { socket: string; pid: number };
  const client = new SocketClient(told.socket);
  bench.atEnd(() => client.close());
  return { socketPath: told.socket, pid: told.pid, client, stop };
}
