/** A link over the system's OpenSSH: one connection a host, which everything else shares. */
import type { Duplex } from 'node:stream';
import PQueue from 'p-queue';
import type { Host, SshDestination } from '../../domain/host/host.ts';
import type { CommandResult, HostCommand, HostLink, HostProcess, RunCommand } from '../../ports/host-link.ts';
import { checkTarget, connectTcp, connectUnix, handOver, type Target } from './forward.ts';
import { runToEnd, unlessAborted } from './process.ts';
import { checkCommand } from './quote.ts';
import { sharedArguments } from './ssh-arguments.ts';
import { brokenLinkError, sessionRefused } from './ssh-errors.ts';
import { SshMaster, type SshOptions } from './ssh-master.ts';
import { SshSession } from './ssh-session.ts';
import { isUsableRsync, type RsyncShell, type Tree, uploadTree } from './upload.ts';

/** Below the 10 that sshd allows a connection (MaxSessions), so that ending a command always finds a free one. */
const SESSIONS_MAX = 8;
const PROBE_TIMEOUT_MS = 15_000;
const SESSIONS_MIN = 2;
const LOSSES_MAX = 3;
const REFUSALS_MAX = 8;
const REFUSED_PAUSE_MS = 100;

export class SshLink implements HostLink {
  readonly host: Host;
  readonly #options: SshOptions;
  readonly #master: SshMaster;
  readonly #sessions = new PQueue({ concurrency: SESSIONS_MAX });

  constructor(host: Host, destination: SshDestination, options: SshOptions) {
    this.host = host;
    this.#options = options;
    this.#master = new SshMaster(host, destination, options);
  }

  run(command: RunCommand): Promise<CommandResult> {
    return runToEnd((toStart) => this.start(toStart), this.#options.clock, command);
  }

  /**
   * Waits for one of the host's sessions, then for the program to be running. `stderr` must be read or resumed.
   * The program runs as a process group of its own there, and `kill` ends that group too.
   */
  async start(command: HostCommand): Promise<HostProcess> {
    checkCommand(command);
    const release = await this.#session(command.signal);
    let over = Promise.resolve();
    try {
      return await this.#begin(command, (session) => {
        over = session.released;
      });
    } finally {
      void over.then(release);
    }
  }

  upload(tree: Tree): Promise<void> {
    return uploadTree(tree, {
      host: this.host,
      environment: this.#options.environment,
      clock: this.#options.clock,
      link: this,
      rsyncShell: (signal) => this.#rsyncShell(signal),
    });
  }

  async connect(target: Target, signal: AbortSignal): Promise<Duplex> {
    checkTarget(target);
    const connection = await this.#master.open(signal);
    const stream =
      'socket' in target
        ? await connectUnix(this.host, this.#master, connection, target.socket, signal)
        : connectTcp(this.host, this.#master, connection, target, this.#options);
    return handOver(stream, signal);
  }

  close(): Promise<void> {
    return this.#master.close();
  }

  /** A session to be released, or the refusal when the signal aborts while waiting for one. */
  async #session(signal: AbortSignal | undefined): Promise<() => void> {
    const given = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    const hold = () => {
      given.resolve();
      return released.promise;
    };
    this.#sessions.add(hold).catch(given.reject);
    try {
      await unlessAborted(given.promise, signal);
      return released.resolve;
    } catch (error) {
      released.resolve();
      throw error;
    }
  }

  /**
   * Asks again when nothing was run: over a new connection when the old one was lost unnoticed, or later when the host
   * took no further session; then fewer are asked for from now on.
   */
  async #begin(command: HostCommand, note: (session: SshSession) => void): Promise<SshSession> {
    let losses = 0;
    for (let refusals = 0; ; ) {
      const connection = await this.#master.open(command.signal);
      const session = new SshSession(this.host, this.#master, connection, this.#options, command);
      note(session);
      if (await unlessAborted(session.started(), command.signal)) return session;
      const isRefused = sessionRefused(session.complaint);
      if (isRefused) refusals += 1;
      else losses += 1;
      if (losses === LOSSES_MAX || refusals === REFUSALS_MAX)
        throw brokenLinkError(this.host, session.complaint);
      if (!isRefused) {
        this.#master.lost(connection);
        continue;
      }
      this.#sessions.concurrency = Math.max(SESSIONS_MIN, this.#sessions.concurrency - 1);
      await unlessAborted(this.#options.clock.sleep(REFUSED_PAUSE_MS * refusals), command.signal);
    }
  }

  async #rsyncShell(signal: AbortSignal): Promise<RsyncShell | null> {
    const connection = await this.#master.open(signal);
    connection.hasRsync ??= this.run({ command: ['rsync', '--version'], timeoutMs: PROBE_TIMEOUT_MS }).then(
      ({ stdout }) => isUsableRsync(stdout),
    );
    try {
      if (!(await unlessAborted(connection.hasRsync, signal))) return null;
    } catch (error) {
      connection.hasRsync = null;
      throw error;
    }
    const release = await this.#session(signal);
    return { words: ['ssh', ...sharedArguments(connection.controlPath)], release };
  }
}
