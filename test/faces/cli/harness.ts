/** Runs the real command in processes of its own, each test file in a home of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SANDBOX_ID } from './patterns.ts';

export const ROOT = join(import.meta.dirname, '..', '..', '..');
const MAIN = join(ROOT, 'src', 'faces', 'cli', 'main.ts');
const WAIT_MS = 15_000;

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly bytes: Buffer;
}

export interface RunOptions {
  readonly stdin?: string | Uint8Array;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly directory?: string;
}

/** A running command whose output is collected. */
export class Running {
  readonly process: ChildProcess;
  readonly ended: Promise<Ended>;
  readonly #stdout: Buffer[] = [];
  readonly #stderr: Buffer[] = [];

  constructor(child: ChildProcess) {
    this.process = child;
    child.stdout?.on('data', (data: Buffer) => this.#stdout.push(data));
    child.stderr?.on('data', (data: Buffer) => this.#stderr.push(data));
    child.stdin?.on('error', () => undefined); // a command that ends early leaves its input unread
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) =>
        resolve({
          code: code ?? (signal === null ? -1 : 256),
          stdout: this.stdout,
          stderr: this.stderr,
          bytes: Buffer.concat(this.#stdout),
        }),
      );
    });
  }

  get stdout(): string {
    return Buffer.concat(this.#stdout).toString('utf8');
  }

  get stderr(): string {
    return Buffer.concat(this.#stderr).toString('utf8');
  }

  /** Waits until what was printed matches. */
  async printed(pattern: RegExp): Promise<RegExpExecArray> {
    for (let waitedMs = 0; waitedMs < WAIT_MS; waitedMs += 20) {
      const match = pattern.exec(this.stdout + this.stderr);
      if (match !== null) return match;
      if (this.process.exitCode !== null) break;
      await sleep(20);
    }
    throw new Error(`${pattern} was not printed, but: ${this.stdout}${this.stderr}`);
  }

  type(keys: string): void {
    this.process.stdin?.write(keys);
  }
}

const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;

export class Bench {
  readonly home = mkdtempSync('/tmp/sbc-');
  readonly directory = join(this.home, 'files');
  readonly profiles = join(this.home, 'own');

  constructor() {
    mkdirSync(this.directory);
    mkdirSync(this.profiles);
  }

  /** A profile of the simulated backend. */
  simulated(name: string, config: string): string {
    const id = `profile.${name}`;
    const lines = [
      `id: ${id}`,
      'version: "1.0.0"',
      'extension: ext.simulated',
      'isolation: {level: process}',
    ];
    lines.push('ttl: {default: 1h, max: 24h, idle_reap: null}', `config: ${config}`, '');
    writeFileSync(join(this.profiles, `${id}.yaml`), lines.join('\n'));
    return id;
  }

  environment(extra: RunOptions['environment'] = {}): Record<string, string> {
    const all: Record<string, string | undefined> = {
      PATH: process.env.PATH,
      HOME: this.home,
      TERM: 'xterm',
      SANDBOXER_HOME: this.home,
      SANDBOXER_PROFILES: this.profiles,
      NODE_COMPILE_CACHE: join(ROOT, 'build', 'compile-cache'),
      ...extra,
    };
    return Object.fromEntries(
      Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined),
    );
  }

  start(words: readonly string[], options: RunOptions = {}): Running {
    const child = spawn(process.execPath, [MAIN, ...words], {
      env: this.environment(options.environment),
      cwd: options.directory ?? this.directory,
    });
    const running = new Running(child);
    child.stdin.end(options.stdin ?? '');
    return running;
  }

  run(words: readonly string[], options: RunOptions = {}): Promise<Ended> {
    return this.start(words, options).ended;
  }

  /** In a terminal of 100 × 30; standard output and error arrive as one stream. */
  inTerminal(words: readonly string[], options: RunOptions = {}): Running {
    const command = [process.execPath, MAIN, ...words].map(quote).join(' ');
    const child = spawn('script', ['-qec', `stty cols 100 rows 30; exec ${command}`, '/dev/null'], {
      env: this.environment(options.environment),
      cwd: options.directory ?? this.directory,
    });
    return new Running(child);
  }

  async create(...words: readonly string[]): Promise<string> {
    const { stdout, stderr } = await this.run(['create', ...words]);
    const id = SANDBOX_ID.exec(stdout)?.[1];
    if (id === undefined) throw new Error(`no sandbox was created: ${stderr}`);
    return id;
  }

  /** Takes down what the tests left, and removes the home. */
  async clear(): Promise<void> {
    const { stdout } = await this.run(['list', '--limit', '500']);
    const { items } = JSON.parse(stdout) as { items: { sandbox_id: string; state: string }[] };
    for (const { sandbox_id: id, state } of items) {
      if (state !== 'destroyed') await this.run(['destroy', id]);
    }
    rmSync(this.home, { recursive: true, force: true });
  }
}
