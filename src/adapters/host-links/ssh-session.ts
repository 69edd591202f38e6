import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import type { Readable, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { Host } from '../../domain/host/host.ts';
import { asSentence } from '../../domain/text.ts';
import { ExtensionError } from '../../ports/extension.ts';
import type { HostCommand, HostProcess } from '../../ports/host-link.ts';
import {
  calledOff,
  type Ended,
  keptOutput,
  onAbort,
  type Spawned,
  signalGroup,
  spawnPiped,
} from './process.ts';
import { quoteWord, remoteCommandLine } from './quote.ts';
import { brokenLinkError, lastLine, neverSent } from './ssh-errors.ts';
import type { Connection, SshMaster, SshOptions } from './ssh-master.ts';
import { StatusFilter } from './status-filter.ts';

const LAST_WORDS_PATIENCE_MS = 2_000;
const START_PATIENCE_MS = 5_000;
const REMOTE_END_TIMEOUT_MS = 3_000;
const KILLED = 137;
/** Without `--`, which not every shell's `kill` understands. */
const END_SCRIPT = [
  'kill -TERM "-$1" 2>/dev/null || exit 0',
  'n=0',
  'while kill -0 "-$1" 2>/dev/null && [ "$n" -lt 10 ]; do n=$((n+1)); sleep 0.1 2>/dev/null || sleep 1; done',
  'kill -KILL "-$1" 2>/dev/null',
  'exit 0',
].join('; ');

/** One command over the shared connection. */
export class SshSession implements HostProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exit: Promise<number>;
  /** Resolves when nothing of it holds a session any more, here or on the host. */
  readonly released: Promise<void>;
  readonly #host: Host;
  readonly #master: SshMaster;
  readonly #connection: Connection;
  readonly #options: SshOptions;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #filter: StatusFilter;
  readonly #ended: Promise<Ended>;
  #ending: Promise<void> | null = null;
  #hasEnded = false;
  #wasNeverSent = false;

  constructor(
    host: Host,
    master: SshMaster,
    connection: Connection,
    options: SshOptions,
    command: HostCommand,
  ) {
    this.#host = host;
    this.#master = master;
    this.#connection = connection;
    this.#options = options;
    const mark = `\x1e${randomBytes(12).toString('hex')}`;
    const spawned: Spawned = spawnPiped(
      'ssh',
      [...master.clientWords(connection), remoteCommandLine(command, mark)],
      options,
    );
    this.#child = spawned.child;
    this.#ended = spawned.ended;
    this.#filter = new StatusFilter(mark);
    this.stdin = this.#child.stdin;
    this.stdout = keptOutput(this.#child.stdout);
    this.stderr = this.#child.stderr.pipe(this.#filter);
    const stop = onAbort(command.signal, () => this.kill());
    this.exit = this.#exit(command.signal).finally(stop);
    this.released = this.exit.then(
      () => undefined,
      () => undefined,
    );
  }

  /** Answers once the program runs. False: `ssh` could not ask for it, so that nothing was done. */
  async started(): Promise<boolean> {
    try {
      await Promise.race([this.#filter.started, this.exit]);
      return true;
    } catch (error) {
      if (this.#wasNeverSent) return false;
      throw error;
    }
  }

  /** What `ssh` itself said before the command started. */
  get complaint(): string {
    return this.#filter.preamble;
  }

  kill(): void {
    if (this.#hasEnded || this.#ending !== null) return;
    this.#ending = this.#end();
  }

  /**
   * The local end dies, which hangs up; then the program's group on the host is ended. One that has not started yet is
   * waited for: nobody could end it once the local end is gone.
   */
  async #end(): Promise<void> {
    if (this.#filter.processGroup === null)
      await this.#atMost(START_PATIENCE_MS, this.#filter.started, this.#ended);
    signalGroup(this.#child.pid, 'SIGKILL');
    const group = this.#filter.processGroup;
    if (group === null) return;
    const command = ['exec', 'sh', '-c', END_SCRIPT, 'sh', String(group)].map(quoteWord);
    await this.#master.ask(this.#connection, { command }, REMOTE_END_TIMEOUT_MS).catch(() => undefined);
  }

  async #exit(signal: AbortSignal | undefined): Promise<number> {
    const { code, signal: endedBy } = await this.#ended;
    this.#hasEnded = true;
    if (this.#ending !== null) {
      await this.#ending;
      if (signal?.aborted) throw calledOff(signal.reason);
      return KILLED;
    }
    if (this.#filter.processGroup === null || code === 255) await this.#lastWords();
    const hasStarted = this.#filter.processGroup !== null;
    if (code !== 255 && endedBy === null) {
      if (hasStarted) return code;
      const said = asSentence(lastLine(this.#filter.preamble) || 'it said nothing');
      throw new ExtensionError(
        'unsupported',
        `The login shell of host ${this.#host.name} runs no commands: ${said}`,
      );
    }
    if (this.#filter.sawEnd) return 255;
    this.#wasNeverSent = !hasStarted && neverSent(this.#filter.preamble);
    throw brokenLinkError(this.#host, hasStarted ? '' : this.#filter.preamble);
  }

  /** Waits until everything on stderr has come through the filter, unless nobody reads it. */
  async #lastWords(): Promise<void> {
    await this.#atMost(LAST_WORDS_PATIENCE_MS, finished(this.#filter, { readable: false }));
  }

  /** Waits for the first of these, whatever becomes of it, or until the time is over. */
  async #atMost(durationMs: number, ...promises: readonly Promise<unknown>[]): Promise<void> {
    const over = Promise.withResolvers<void>();
    const callOff = this.#options.clock.after(durationMs, over.resolve);
    for (const promise of promises)
      promise.then(
        () => over.resolve(),
        () => over.resolve(),
      );
    await over.promise;
    callOff();
  }
}
