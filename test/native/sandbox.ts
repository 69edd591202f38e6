/** Starts real sandboxes for the tests of the native part. */
import { randomBytes, randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystemClock } from '../../src/adapters/clock/system-clock.ts';
import { type AgentClient, connectAgent } from '../../src/extensions/local/native/agent-client.ts';
import { findHostBase, prepareEtcDirectory } from '../../src/extensions/local/native/base-files.ts';
import { boxSteps, type PreparedEtc, type SandboxRoot } from '../../src/extensions/local/native/box-plan.ts';
import { buildAgent } from '../../src/extensions/local/native/build.ts';
import type { ExecExit, ExecSession, ExecSpec } from '../../src/extensions/local/native/exec-session.ts';
import { Launcher, type LaunchRequest } from '../../src/extensions/local/native/launcher.ts';

export interface TestSandbox {
  readonly agent: AgentClient;
  readonly directory: string;
  readonly socketPath: string;
  readonly token: Uint8Array;
  readonly pid: number;
}

export interface SandboxOptions {
  readonly deadlineMs?: number;
  readonly capMs?: number;
  readonly logLimitBytes?: number;
  readonly maxSessions?: number;
  readonly processLimit?: number;
  readonly root?: SandboxRoot;
  readonly cgroupFiles?: readonly string[];
  readonly directory?: string;
}

const clock = createSystemClock();
export const IS_ROOT = process.getuid?.() === 0;
/** Where the outside ids of ranged test sandboxes begin. */
export const ID_BASE = 1_879_048_192;

export function isAlive(pid: number): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !['Z', 'X'].includes(text.slice(text.lastIndexOf(')') + 2, text.lastIndexOf(')') + 3));
  } catch {
    return false;
  }
}

/** Process ids come back; only a process that is still an agent may be killed. */
function isSandbox(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sandboxer-agent\n';
  } catch {
    return false;
  }
}

export async function waitUntil(
  condition: () => boolean | Promise<boolean>,
  milliseconds = 5000,
): Promise<void> {
  const end = performance.now() + milliseconds;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error('the condition did not come true in time');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** One launcher and the sandboxes it started; `close` ends all of them. */
export class TestBench {
  readonly base: string;
  readonly launcher: Launcher;
  readonly agentPath: string;
  readonly #etc: PreparedEtc;
  readonly #root: SandboxRoot;
  readonly #pids: number[] = [];

  private constructor(base: string, agentPath: string, root: SandboxRoot, etc: PreparedEtc) {
    this.base = base;
    this.agentPath = agentPath;
    this.launcher = new Launcher({ agentPath });
    this.#etc = etc;
    this.#root = root;
  }

  static async open(): Promise<TestBench> {
    const cacheDir =
      process.env.SANDBOX_AGENT_CACHE ?? join(tmpdir(), `sandbox-agent-cache-${process.getuid?.()}`);
    const base = mkdtempSync(join(tmpdir(), 'sandbox-native-'));
    const etc = await prepareEtcDirectory(join(base, 'etc'));
    return new TestBench(base, await buildAgent({ cacheDir }), await findHostBase(), etc);
  }

  request(options: SandboxOptions = {}): LaunchRequest {
    const directory = options.directory ?? join(this.base, randomUUID());
    const steps = boxSteps({
      mode: IS_ROOT ? 'ranged' : 'single',
      sandboxDir: directory,
      workspace: { kind: 'own', name: 'workspace' },
      homeName: 'home',
      etc: this.#etc,
      root: options.root ?? this.#root,
      tmpBytes: 64 * 1024 * 1024,
    });
    return {
      sandboxDir: directory,
      ownedDirectories: ['workspace', 'home'],
      cgroupFiles: options.cgroupFiles ?? [],
      identity: IS_ROOT ? { mode: 'ranged', base: ID_BASE } : { mode: 'single' },
      boxSteps: steps,
      token: randomBytes(32),
      deadlineMs: options.deadlineMs ?? 60_000,
      capMs: options.capMs ?? 120_000,
      ...(options.logLimitBytes === undefined ? {} : { logLimitBytes: options.logLimitBytes }),
      ...(options.processLimit === undefined ? {} : { processLimit: options.processLimit }),
      ...(options.maxSessions === undefined ? {} : { maxSessions: options.maxSessions }),
    };
  }

  async start(options: SandboxOptions = {}, launcher = this.launcher): Promise<TestSandbox> {
    const request = this.request(options);
    const { pid } = await launcher.launch(request);
    this.#pids.push(pid);
    const socketPath = join(request.sandboxDir, 'agent.sock');
    const agent = connectAgent({ socketPath, token: request.token, clock });
    return { agent, directory: request.sandboxDir, socketPath, token: request.token, pid };
  }

  async close(): Promise<void> {
    await this.launcher.close();
    for (const pid of this.#pids) {
      if (isAlive(pid) && isSandbox(pid)) process.kill(pid, 'SIGKILL');
    }
    await waitUntil(() => this.#pids.every((pid) => !isAlive(pid) || !isSandbox(pid)));
    rmSync(this.base, { recursive: true, force: true });
  }
}

export interface Finished extends ExecExit {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly text: string;
}

export async function collect(session: ExecSession): Promise<Finished> {
  const parts: Record<'stdout' | 'stderr', Uint8Array[]> = { stdout: [], stderr: [] };
  for await (const { stream, data } of session.output) parts[stream].push(data);
  const stdout = Buffer.concat(parts.stdout);
  const stderr = Buffer.concat(parts.stderr);
  return { ...(await session.exit), stdout, stderr, text: stdout.toString('utf8') };
}

export async function run(
  agent: AgentClient,
  argv: readonly string[],
  spec: Omit<ExecSpec, 'argv'> = {},
): Promise<Finished> {
  return collect(await agent.exec({ argv, ...spec }));
}

export function shell(
  agent: AgentClient,
  script: string,
  spec: Omit<ExecSpec, 'argv'> = {},
): Promise<Finished> {
  return run(agent, ['sh', '-c', script], spec);
}

function parentOf(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return 0; // it has ended meanwhile
  }
}

/** The process ids outside of everything inside: the agent first, then all that descends from it. */
export function processesInside(sandbox: TestSandbox): number[] {
  const pids = readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0);
  const inside = [sandbox.pid];
  for (const parent of inside) inside.push(...pids.filter((pid) => parentOf(pid) === parent));
  return inside;
}

export function makeDirectory(path: string): string {
  mkdirSync(path, { recursive: true });
  chmodSync(path, 0o755);
  return path;
}
