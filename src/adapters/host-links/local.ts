/** The contract of a link for this machine itself: no SSH, the same quoting-free argument vectors, the same endings. */
import type { Duplex } from 'node:stream';
import type { Host } from '../../domain/host/host.ts';
import type { Clock } from '../../ports/clock.ts';
import type { CommandResult, HostCommand, HostLink, HostProcess, RunCommand } from '../../ports/host-link.ts';
import { checkTarget, connectLocal, type Target } from './forward.ts';
import {
  calledOff,
  END_PATIENCE_MS,
  type Environment,
  keptOutput,
  onAbort,
  runToEnd,
  signalGroup,
  spawnPiped,
} from './process.ts';
import { checkCommand, localWords } from './quote.ts';
import { type Tree, uploadTree } from './upload.ts';

export interface LocalOptions {
  readonly environment: Environment;
  readonly clock: Clock;
}

export class LocalLink implements HostLink {
  readonly host: Host;
  readonly #options: LocalOptions;

  constructor(host: Host, options: LocalOptions) {
    this.host = host;
    this.#options = options;
  }

  run(command: RunCommand): Promise<CommandResult> {
    return runToEnd((toStart) => this.start(toStart), this.#options.clock, command);
  }

  async start(command: HostCommand): Promise<HostProcess> {
    checkCommand(command);
    const { environment, clock } = this.#options;
    if (command.signal?.aborted) throw calledOff(command.signal.reason);
    const { child, ended } = spawnPiped('sh', localWords(command), {
      environment: { ...environment, ...command.environment },
    });
    const kill = () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      signalGroup(child.pid, 'SIGTERM');
      clock.after(END_PATIENCE_MS, () => signalGroup(child.pid, 'SIGKILL'));
    };
    const stop = onAbort(command.signal, kill);
    const exit = ended.finally(stop).then(({ code }) => {
      if (command.signal?.aborted) throw calledOff(command.signal.reason);
      return code;
    });
    exit.catch(() => undefined);
    const [stdout, stderr] = [keptOutput(child.stdout), keptOutput(child.stderr)];
    return { stdin: child.stdin, stdout, stderr, exit, kill };
  }

  upload(tree: Tree): Promise<void> {
    const shell = { words: null, release: () => undefined };
    return uploadTree(tree, {
      host: this.host,
      ...this.#options,
      link: this,
      rsyncShell: () => Promise.resolve(shell),
    });
  }

  async connect(target: Target, signal: AbortSignal): Promise<Duplex> {
    checkTarget(target);
    const place = 'socket' in target ? { path: target.socket } : { host: target.address, port: target.port };
    return connectLocal(place, this.host, signal);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
