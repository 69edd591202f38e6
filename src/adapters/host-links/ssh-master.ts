/** The shared connection to one host: opened at the first need, once for all who wait, and again when it was lost. */
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import PQueue from 'p-queue';
import { destinationText, type Host, type SshDestination } from '../../domain/host/host.ts';
import type { Clock } from '../../ports/clock.ts';
import { ExtensionError } from '../../ports/extension.ts';
import type { ControlDirectory } from './control-directory.ts';
import { type Environment, signalGroup, spawnLogged, spawnPiped, unlessAborted } from './process.ts';
import { masterArguments, sharedArguments } from './ssh-arguments.ts';
import { connectError } from './ssh-errors.ts';

const OPEN_TIMEOUT_MS = 30_000;
const CLOSE_TIMEOUT_MS = 2_000;
const CLOSE_LOOK_MS = 10;
const LOG_LENGTH_MAX = 16 * 1024;

export interface SshOptions {
  readonly directory: ControlDirectory;
  /** Instead of the user's and the system's SSH configuration. */
  readonly configFile: string | null;
  readonly environment: Environment;
  readonly clock: Clock;
}

/** One opening of the connection. What lives as long as it lives is kept here. */
export interface Connection {
  readonly directory: string;
  readonly controlPath: string;
  /** Remote socket → local socket that leads there. */
  readonly forwards: Map<string, Promise<string>>;
  hasRsync: Promise<boolean> | null;
}

interface Answer {
  readonly code: number;
  readonly said: string;
}

export class SshMaster {
  readonly #host: Host;
  readonly #destination: SshDestination;
  readonly #options: SshOptions;
  /** The two sessions that sshd allows (MaxSessions 10) beyond the eight of a link. */
  readonly #asking = new PQueue({ concurrency: 2 });
  #connection: Connection | null = null;
  #opening: Promise<Connection> | null = null;
  #abandon: () => void = () => undefined;

  constructor(host: Host, destination: SshDestination, options: SshOptions) {
    this.#host = host;
    this.#destination = destination;
    this.#options = options;
  }

  /** The connection, opened when there is none. A caller that gives up leaves the opening to the others. */
  async open(signal?: AbortSignal): Promise<Connection> {
    const connection = this.#connection;
    if (connection !== null) {
      if (await this.isAlive(connection)) return connection;
      this.lost(connection);
    }
    if (this.#opening === null) {
      const opening = this.#open().finally(() => {
        this.#opening = null;
      });
      opening.catch(() => undefined);
      this.#opening = opening;
    }
    return unlessAborted(this.#opening, signal);
  }

  /** Forgets a connection that was found dead; the next `open` makes a new one. */
  lost(connection: Connection): void {
    if (this.#connection === connection) this.#connection = null;
    rmSync(connection.directory, { recursive: true, force: true });
  }

  /** Whether the process that holds the connection is still there. */
  isAlive(connection: Connection): Promise<boolean> {
    const answer = Promise.withResolvers<boolean>();
    const socket = connect(connection.controlPath);
    socket.once('connect', () => answer.resolve(true));
    socket.once('error', () => answer.resolve(false));
    return answer.promise.finally(() => socket.destroy());
  }

  /** The words of a program that uses the connection, up to where `ssh` wants the command. */
  clientWords(connection: Connection, ...more: readonly string[]): string[] {
    return [...sharedArguments(connection.controlPath), ...more, '--', destinationText(this.#destination)];
  }

  /** A short word to the process that holds the connection (`-O`) or to the host; answers its exit code and complaint. */
  ask(
    connection: Connection,
    words: { readonly options?: readonly string[]; readonly command?: readonly string[] },
    timeoutMs: number,
  ): Promise<Answer> {
    return this.#asking.add(() => this.#ask(connection, words, timeoutMs));
  }

  async #ask(
    connection: Connection,
    { options = [], command = [] }: { options?: readonly string[]; command?: readonly string[] },
    timeoutMs: number,
  ): Promise<Answer> {
    const words = [...this.clientWords(connection, ...options), ...command];
    const { child, ended } = spawnPiped('ssh', words, this.#options);
    child.stdin.end();
    let said = '';
    child.stdout.resume();
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (said.length < LOG_LENGTH_MAX) said += text;
    });
    const callOff = this.#options.clock.after(timeoutMs, () => signalGroup(child.pid, 'SIGKILL'));
    try {
      return { code: (await ended).code, said };
    } finally {
      callOff();
    }
  }

  async close(): Promise<void> {
    if (this.#opening !== null) {
      this.#abandon();
      await this.#opening.catch(() => undefined);
    }
    const connection = this.#connection;
    if (connection === null) return;
    this.#connection = null;
    if (await this.isAlive(connection)) {
      await this.ask(connection, { options: ['-O', 'exit'] }, CLOSE_TIMEOUT_MS);
      const endMs = this.#options.clock.monotonicMs() + CLOSE_TIMEOUT_MS;
      while (this.#options.clock.monotonicMs() < endMs && (await this.isAlive(connection)))
        await this.#options.clock.sleep(CLOSE_LOOK_MS);
    }
    rmSync(connection.directory, { recursive: true, force: true });
  }

  async #open(): Promise<Connection> {
    const directory = join(this.#options.directory.path(), randomBytes(6).toString('hex'));
    mkdirSync(directory, { mode: 0o700 });
    const controlPath = join(directory, 'm');
    try {
      await this.#connect(controlPath, join(directory, 'log'));
    } catch (error) {
      rmSync(directory, { recursive: true, force: true });
      throw error;
    }
    this.#connection = { directory, controlPath, forwards: new Map(), hasRsync: null };
    return this.#connection;
  }

  /** A file takes what `ssh` says, because a program on the way (`-J`) would hold a pipe open. */
  async #connect(controlPath: string, logPath: string): Promise<void> {
    const { configFile, environment, clock } = this.#options;
    const logDescriptor = openSync(logPath, 'w', 0o600);
    let isLate = false;
    let code: number;
    try {
      const { child, ended } = spawnLogged(
        'ssh',
        masterArguments(this.#destination, controlPath, configFile),
        {
          environment: { ...environment, SSH_ASKPASS_REQUIRE: 'never' },
          logDescriptor,
        },
      );
      this.#abandon = () => signalGroup(child.pid, 'SIGKILL');
      const callOff = clock.after(OPEN_TIMEOUT_MS, () => {
        isLate = true;
        this.#abandon();
      });
      code = (await ended.finally(callOff)).code;
    } finally {
      closeSync(logDescriptor);
    }
    if (code === 0 && existsSync(controlPath)) return;
    const late = `no login within ${OPEN_TIMEOUT_MS / 1_000} s`;
    const said = isLate ? late : readFileSync(logPath, 'utf8').slice(0, LOG_LENGTH_MAX);
    if (code === 0)
      throw new ExtensionError('transient', `The connection to host ${this.#host.name} could not be shared.`);
    throw connectError(this.#host, this.#destination, said, configFile);
  }
}
