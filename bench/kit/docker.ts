/** Docker through its Engine API, where there is an engine. */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { SocketClient } from './http.ts';
import type { Bench } from './row.ts';
import { SCRATCH, stopProcess } from './server-process.ts';

export const DOCKER_ABSENT = 'no engine: opponent Docker not run';
const IMAGE = 'sandboxer-bench:latest';
const API = '/v1.41';
const READY_TRIES = 200;
const READY_POLL_MS = 50;
const PLACES = ['/usr/local/bin', '/usr/bin', '/bin'];
const PROGRAMS = ['true', 'sleep', 'sh', 'node'];

/** The limits of profile.local. */
const HOST_CONFIG = { NetworkMode: 'none', Memory: 2048 * 1024 * 1024, PidsLimit: 512 };

function socketFromEnvironment(): string | null {
  const host = process.env.DOCKER_HOST ?? 'unix:///var/run/docker.sock';
  const path = host.startsWith('unix://') ? host.slice('unix://'.length) : null;
  return path !== null && existsSync(path) ? path : null;
}

function hasDaemon(): boolean {
  return (process.env.PATH ?? '').split(':').some((directory) => existsSync(join(directory, 'dockerd')));
}

async function startDaemon(bench: Bench): Promise<string | null> {
  const directory = mkdtempSync(join(SCRATCH, 'sandboxer-bench-dockerd-'));
  const socket = join(directory, 'docker.sock');
  const child = spawn(
    'dockerd',
    [
      ...['--data-root', join(directory, 'data'), '--exec-root', join(directory, 'exec')],
      ...['--pidfile', join(directory, 'pid'), '-H', `unix://${socket}`, '--log-level', 'error'],
      ...['--bridge', 'none', '--iptables=false', '--ip6tables=false'],
    ],
    { stdio: 'ignore' },
  );
  bench.atEnd(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 }));
  bench.atEnd(() => stopProcess(child));
  for (let attempt = 0; attempt < READY_TRIES; attempt += 1) {
    if (existsSync(socket)) return socket;
    if (child.exitCode !== null) return null;
    await sleep(READY_POLL_MS);
  }
  return null;
}

/** This machine's programs with their libraries, so that both run the same ones. */
function fillRoot(root: string): void {
  for (const directory of ['bin', 'tmp', 'proc', 'dev', 'etc'])
    mkdirSync(join(root, directory), { recursive: true });
  for (const program of PROGRAMS) {
    const path = PLACES.map((place) => join(place, program)).find(existsSync);
    if (path === undefined) throw new Error(`${program} is in none of ${PLACES.join(', ')}`);
    copyFileSync(path, join(root, 'bin', program));
    chmodSync(join(root, 'bin', program), 0o755);
    const needs = execFileSync('sh', ['-c', 'ldd "$0" || true', path], { encoding: 'utf8' });
    for (const [library] of needs.matchAll(/\/[^\s)]+/g)) {
      mkdirSync(join(root, dirname(library)), { recursive: true });
      copyFileSync(library, join(root, library));
    }
  }
}

async function importImage(client: SocketClient): Promise<void> {
  const directory = mkdtempSync(join(SCRATCH, 'sandboxer-bench-root-'));
  try {
    const root = join(directory, 'root');
    const archive = join(directory, 'root.tar');
    fillRoot(root);
    execFileSync('tar', ['-C', root, '-cf', archive, '.']);
    const path = `${API}/images/create?fromSrc=-&repo=sandboxer-bench&tag=latest`;
    const { status, body } = await client.send('POST', path, readFileSync(archive), 'application/x-tar');
    if (status >= 400) throw new Error(`the image was refused: ${body.toString('utf8').slice(0, 200)}`);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export class DockerEngine {
  readonly version: string;
  readonly #client: SocketClient;
  readonly #socket: string;

  constructor(client: SocketClient, socket: string, version: string) {
    this.#client = client;
    this.#socket = socket;
    this.version = version;
  }

  async create(): Promise<string> {
    const body = { Image: IMAGE, Cmd: ['sleep', '3600'], Env: ['PATH=/bin'], HostConfig: HOST_CONFIG };
    const { Id: id } = await this.#client.json<{ Id: string }>('POST', `${API}/containers/create`, body);
    await this.#client.json('POST', `${API}/containers/${id}/start`);
    return id;
  }

  async exec(id: string, command: readonly string[]): Promise<void> {
    const body = { Cmd: command, AttachStdout: true, AttachStderr: true };
    const made = await this.#client.json<{ Id: string }>('POST', `${API}/containers/${id}/exec`, body);
    const start = Buffer.from(JSON.stringify({ Detach: false, Tty: false }));
    await this.#client.send('POST', `${API}/exec/${made.Id}/start`, start);
    const { ExitCode: code } = await this.#client.json<{ ExitCode: number }>(
      'GET',
      `${API}/exec/${made.Id}/json`,
    );
    if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}`);
  }

  async remove(id: string): Promise<void> {
    await this.#client.json('DELETE', `${API}/containers/${id}?force=1`);
  }

  /** As the command does it, whose own start is in that. */
  async removeByCommand(id: string): Promise<void> {
    await promisify(execFile)('docker', ['-H', `unix://${this.#socket}`, 'rm', '-f', id]);
  }

  /** Milliseconds until the end of the command; the removal is not in them. */
  async createStartExec(command: readonly string[]): Promise<number> {
    const beganAtMs = performance.now();
    const id = await this.create();
    try {
      await this.exec(id, command);
      return performance.now() - beganAtMs;
    } finally {
      await this.remove(id);
    }
  }
}

/**
 * The engine behind DOCKER_HOST or the usual socket; with SANDBOXER_BENCH_DOCKER=1 a private one, if dockerd is
 * installed. Null where there is none: then the opponent does not run, and no number stands in for it.
 */
export async function findDocker(bench: Bench): Promise<DockerEngine | null> {
  const mayStart = process.env.SANDBOXER_BENCH_DOCKER === '1' && hasDaemon();
  const socket = socketFromEnvironment() ?? (mayStart ? await startDaemon(bench) : null);
  if (socket === null) return null;
  const client = new SocketClient(socket);
  bench.atEnd(() => client.close());
  const { Version: version } = await client.json<{ Version: string }>('GET', `${API}/version`);
  await importImage(client);
  return new DockerEngine(client, socket, version);
}
