/** One host as this extension sees it: the scripts run there, with deadlines, and what they say. */
import { posix } from 'node:path';
import { COMPOSE_COMMANDS, type Host } from '../../domain/host/host.ts';
import { parseBackendName } from '../../domain/ids.ts';
import { ExtensionError, type HostTelemetry, type ProvisionRequest } from '../../ports/extension.ts';
import type { CommandResult, HostLink } from '../../ports/host-link.ts';
import { scriptError } from './errors.ts';
import {
  ARM,
  DESTROY,
  FIND_LINK,
  LAST_WORDS,
  LIST,
  OBSERVE,
  PREPARE,
  PROBE,
  READ_PLAIN,
  REAPER,
  UP,
  WRITE_STACK,
} from './scripts.ts';
import { linesOf, readStatus, type StackStatus } from './status.ts';

const QUICK_MS = 10_000;
const DESTROY_MS = 60_000;

export interface HostProbe {
  readonly compose: readonly string[] | null;
  readonly engine: 'docker' | 'podman' | null;
  /** The Unix socket of the engine's API on the host. */
  readonly socket: string | null;
  /** Whether we log in as root, who may read everything. */
  readonly isRoot: boolean;
  /** Why no sandbox can be placed there now; a sentence. */
  readonly hindrance: string | null;
  readonly telemetry: HostTelemetry;
}

export interface Place {
  readonly name: string;
  /** Of its directories: the name without its prefix. */
  readonly key: string;
  /** The workspace. */
  readonly directory: string;
}

const ROOM_KB_MIN = 64 * 1024;

/** Where a sandbox's files are on its host. */
export function placeOf(host: Host, name: string): Place {
  if (parseBackendName(name) === null) throw new TypeError('not a name of ours');
  const key = name.slice('sbx-'.length);
  return { name, key, directory: posix.join(host.base_directory, key) };
}

/** The name of the sandbox whose directories have this key; null for somebody else's. */
export function nameOfKey(key: string): string | null {
  const name = `sbx-${key}`;
  return parseBackendName(name) === null ? null : name;
}

function readProbe(host: Host, text: string): HostProbe {
  const lines = linesOf(text);
  const words = (kind: string) => lines.find(([first]) => first === kind)?.slice(1) ?? [];
  const numbers = (kind: string) => words(kind).flatMap((word) => word.trim().split(/\s+/).map(Number));
  const [load1 = 0, load5 = 0, load15 = 0] = numbers('load');
  const [totalKb = 0, availableKb = 0] = numbers('memory');
  const disk = words('disk')[0]?.trim().split(/\s+/) ?? [];
  const roomKb = Number(words('room')[0]?.trim().split(/\s+/)[3] ?? 0);
  const engine =
    words('engine')[0] === 'podman' ? 'podman' : words('engine')[0] === 'docker' ? 'docker' : null;
  const containers = words('containers').map(Number);
  const hindrance = hindranceOf(host, { words, engine, roomKb });
  return {
    compose: words('compose')[0]?.split(' ') ?? null,
    engine,
    socket: words('socket')[0]?.replace(/^unix:\/\//, '') || null,
    isRoot: words('user')[0] === '0',
    hindrance,
    telemetry: {
      load_1m: load1,
      load_5m: load5,
      load_15m: load15,
      cpu_count: numbers('processors')[0] ?? 1,
      mem_total_mb: Math.floor(totalKb / 1_024),
      mem_available_mb: Math.floor(availableKb / 1_024),
      disk_root_used_pct: Number(disk[4]?.replace('%', '') ?? 0),
      disk_root_avail_gb: Math.round((Number(disk[3] ?? 0) * 1_024) / 1e7) / 100,
      running_containers: containers[0] ?? null,
      sandbox_containers: containers[1] ?? null,
    },
  };
}

function hindranceOf(
  host: Host,
  seen: { words(kind: string): string[]; engine: string | null; roomKb: number },
): string | null {
  const { words } = seen;
  if (words('compose').length === 0) {
    const wanted = host.compose_command ?? COMPOSE_COMMANDS.join(', ');
    return `there is no Compose on it (looked for ${wanted})`;
  }
  if (seen.engine === null)
    return `its engine does not answer: ${words('silent')[0] ?? 'no reason was given'}`;
  if (words('closed').length > 0) return `${words('closed')[0]} cannot be written to`;
  if (seen.roomKb < ROOM_KB_MIN) return `its disk is full: ${Math.floor(seen.roomKb / 1_024)} MiB are left`;
  return null;
}

const secondsOf = (milliseconds: number) => String(Math.max(0, Math.ceil(milliseconds / 1_000)));

export class HostClient {
  readonly host: Host;
  readonly link: HostLink;
  #probe: Promise<HostProbe> | null = null;

  constructor(host: Host, link: HostLink) {
    this.host = host;
    this.link = link;
  }

  /** A fresh look at the host. What does not change with time is remembered for `engine`. */
  async probe(signal: AbortSignal): Promise<HostProbe> {
    const { compose_command: compose, base_directory: base } = this.host;
    const known = (await this.#probe)?.compose?.join(' ') ?? '';
    const words = [base, known, ...(compose === null ? COMPOSE_COMMANDS : [compose])];
    const result = await this.#script(PROBE, words, {
      doing: 'Looking around',
      signal,
    });
    const probe = readProbe(this.host, result.stdout);
    if (probe.engine !== null) this.#probe = Promise.resolve(probe);
    return probe;
  }

  /** Compose and engine; `transient` with the reason while there is none. */
  async engine(
    signal: AbortSignal,
  ): Promise<{ compose: readonly string[]; engine: string; socket: string | null; isRoot: boolean }> {
    const { compose, engine, socket, isRoot, hindrance } = await (this.#probe ?? this.probe(signal));
    if (compose !== null && engine !== null) return { compose, engine, socket, isRoot };
    throw new ExtensionError('transient', `Host ${this.host.name} cannot run stacks: ${hindrance}.`);
  }

  /**
   * Makes directory and record and starts the host's reaper; false when something of that name is there already.
   * `compose` may be empty, to be written later.
   */
  async prepare(
    place: Place,
    request: Pick<ProvisionRequest, 'epoch' | 'ownDeadlineMs' | 'ownDeadlineCapMs' | 'signal'>,
    content: { readonly record: string; readonly compose: string },
  ): Promise<boolean> {
    const { epoch, ownDeadlineMs, ownDeadlineCapMs, signal } = request;
    const deadlines = [secondsOf(ownDeadlineMs), secondsOf(ownDeadlineCapMs)];
    const words = [...(await this.#words(place, signal)), String(epoch), ...deadlines, REAPER];
    const input = `${content.record}${content.compose}`;
    const { exitCode, stderr } = await this.#run(PREPARE, words, { signal, input });
    if (exitCode === 67) return false;
    if (exitCode === 0) return true;
    throw scriptError('Making the directory', this.host.name, exitCode, stderr);
  }

  /** Writes our own files of a sandbox, in this order. */
  async writeStack(
    place: Place,
    content: { readonly record: string; readonly compose: string },
    signal: AbortSignal,
  ): Promise<void> {
    const input = `${content.record}${content.compose}`;
    await this.#script(WRITE_STACK, await this.#words(place, signal), {
      doing: 'Writing the stack',
      signal,
      input,
    });
  }

  statePath(place: Place, file: string): string {
    return posix.join(this.host.base_directory, '.sandboxer', place.key, file);
  }

  /** Sets the deadline of the host's own reaper and starts it where none runs; answers what was granted. */
  async arm(
    place: Place,
    remainingMs: number,
    latestMs: number | null,
    signal: AbortSignal,
  ): Promise<number> {
    const words = [...(await this.#words(place, signal)), secondsOf(remainingMs)];
    const { stdout } = await this.#script(ARM, [...words, latestMs === null ? '' : secondsOf(latestMs)], {
      doing: 'Setting the deadline',
      signal,
    });
    return Number(stdout.trim()) * 1_000;
  }

  /** Runs Compose to its end; its exit code and what it said last. */
  async up(
    place: Place,
    words: readonly string[],
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<CommandResult> {
    return this.#run(UP, [...(await this.#words(place, signal)), ...words], { signal, timeoutMs });
  }

  async status(place: Place, signal: AbortSignal): Promise<StackStatus> {
    const words = await this.#words(place, signal);
    const { stdout } = await this.#script(OBSERVE, words, { doing: 'Looking', signal });
    return readStatus(stdout);
  }

  /** The first of some files of a workspace in which nothing runs, at most `limitBytes` of it; see `READ_PLAIN`. */
  async readPlain(
    place: Place,
    paths: readonly string[],
    limitBytes: number,
    signal: AbortSignal,
  ): Promise<CommandResult> {
    const words = [...(await this.#words(place, signal)), String(limitBytes), ...paths];
    return this.#run(READ_PLAIN, words, { signal });
  }

  /** The first beginning of a path in the workspace that is a link, or null. */
  async findLink(place: Place, paths: readonly string[], signal: AbortSignal): Promise<string | null> {
    const words = [...(await this.#words(place, signal)), ...paths];
    const { stdout } = await this.#script(FIND_LINK, words, { doing: 'Looking for links', signal });
    return stdout === '' ? null : stdout.replace(/\n$/, '');
  }

  async lastWords(containers: readonly string[], signal: AbortSignal): Promise<string> {
    const { engine } = await this.engine(signal);
    return (await this.#run(LAST_WORDS, [engine, '5', ...containers], { signal })).stdout;
  }

  async destroy(place: Place, signal: AbortSignal): Promise<void> {
    const words = await this.#words(place, signal);
    await this.#script(DESTROY, words, { doing: 'Removing', signal, timeoutMs: DESTROY_MS });
  }

  async list(signal: AbortSignal): Promise<string[][]> {
    const { engine } = await this.engine(signal);
    const { stdout } = await this.#script(LIST, [this.host.base_directory, engine], {
      doing: 'Listing',
      signal,
    });
    return linesOf(stdout);
  }

  async #words({ name, key }: Place, signal: AbortSignal): Promise<readonly string[]> {
    const { engine } = await this.engine(signal);
    return [this.host.base_directory, key, name, engine];
  }

  async #script(
    script: string,
    words: readonly string[],
    options: { doing: string; signal: AbortSignal; input?: string; timeoutMs?: number },
  ): Promise<CommandResult> {
    const result = await this.#run(script, words, options);
    if (result.exitCode === 0) return result;
    this.#probe = null; // what was remembered of the engine may be what failed
    throw scriptError(options.doing, this.host.name, result.exitCode, result.stderr);
  }

  #run(
    script: string,
    words: readonly string[],
    options: { signal: AbortSignal; input?: string; timeoutMs?: number },
  ): Promise<CommandResult> {
    return this.link.run({
      command: ['sh', '-c', script, 'sh', ...words],
      ...(options.input === undefined ? {} : { input: options.input }),
      timeoutMs: options.timeoutMs ?? QUICK_MS,
      signal: options.signal,
    });
  }
}
