import { posix } from 'node:path';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../ports/clock.ts';
import {
  type Activity,
  type ExecSession,
  type ExecSpec,
  ExtensionError,
  type FileEntry,
  type Reference,
  type Sessions,
} from '../../ports/extension.ts';
import type { HostClient } from './client.ts';
import { EngineApi } from './engine-api.ts';
import { execInContainer } from './exec-session.ts';
import { entryOfListing, entryOfStat, LIST_DIRECTORY, listenerOf } from './files.ts';
import { followLogs } from './logs.ts';

export interface PlacedStack {
  readonly client: HostClient;
  readonly name: string;
  readonly service: string;
  /** See `ComposeRequest`. */
  readonly pauseMaxS: number;
}

interface ContainerTarget {
  readonly api: EngineApi;
  readonly container: string;
}

interface ContainerFacts {
  readonly Id: string;
  readonly Labels: Readonly<Record<string, string>>;
  readonly NetworkSettings: { readonly Networks: Readonly<Record<string, { readonly IPAddress: string }>> };
}

const PLAIN: Omit<ExecSpec, 'command'> = {
  environment: {},
  workingDirectory: null,
  user: 'user',
  terminal: null,
  stdin: false,
  timeoutMs: 0,
  outputLimitBytes: 0,
  detach: false,
};
/** Of commands of ours, whose output is text for us. */
const TEXT_BYTES_MAX = 8 * 1024 * 1024;
const COMPLAINT_CHARACTERS_MAX = 4_096;
const OWN_COMMAND_MS = 30_000;
const OWN: Omit<ExecSpec, 'command'> = {
  ...PLAIN,
  outputLimitBytes: TEXT_BYTES_MAX,
  timeoutMs: OWN_COMMAND_MS,
};
const WRITE = 'set -e; [ -z "$3" ] || mkdir -p -- "$(dirname -- "$1")"; cat >"$1"; chmod "$2" "$1"';

/** Everything goes to one container: the first of the stack's chosen service. */
export class ComposeSessions implements Sessions {
  readonly #placed: (reference: Reference) => Promise<PlacedStack>;
  readonly #clock: Clock;
  readonly #containers = new Map<string, string>();
  readonly #use = new Map<string, { commandsRunning: number; endedAtMs: number }>();

  constructor(placed: (reference: Reference) => Promise<PlacedStack>, clock: Clock) {
    this.#placed = placed;
    this.#clock = clock;
  }

  forget(name: string): void {
    this.#containers.delete(name);
    this.#use.delete(name);
  }

  /** As far as it went through this process; null when nothing did. */
  activity(name: string): Activity | null {
    const use = this.#use.get(name);
    if (use === undefined) return null;
    const idleMs = use.commandsRunning > 0 ? 0 : Math.max(0, this.#clock.nowMs() - use.endedAtMs);
    return { commandsRunning: use.commandsRunning, idleMs };
  }

  #count(name: string, ending: Promise<unknown>): void {
    const use = this.#use.get(name) ?? { commandsRunning: 0, endedAtMs: 0 };
    this.#use.set(name, use);
    use.commandsRunning += 1;
    const end = () => {
      use.commandsRunning -= 1;
      use.endedAtMs = this.#clock.nowMs();
    };
    ending.then(end, end);
  }

  async exec(reference: Reference, spec: ExecSpec, signal: AbortSignal): Promise<ExecSession> {
    const session = await this.#start(reference, spec, signal);
    this.#count(reference.name, session.exit);
    return spec.detach ? detached(session) : session;
  }

  #start(reference: Reference, spec: ExecSpec, signal: AbortSignal): Promise<ExecSession> {
    return this.#inContainer(reference, signal, ({ api, container }) =>
      execInContainer({ api, container, clock: this.#clock }, spec, signal),
    );
  }

  /** The remembered container may be another one by now; it then refuses before anything runs, and is looked for again. */
  async #inContainer<Result>(
    reference: Reference,
    signal: AbortSignal,
    work: (target: ContainerTarget) => Promise<Result>,
  ): Promise<Result> {
    const wasKnown = this.#containers.has(reference.name);
    try {
      return await work(await this.#target(reference, signal));
    } catch (error) {
      if (!wasKnown || !(error instanceof ExtensionError) || error.kind !== 'invalid') throw error;
      this.#containers.delete(reference.name);
      return await work(await this.#target(reference, signal));
    }
  }

  async readFile(
    reference: Reference,
    path: string,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>> {
    const found = await this.stat(reference, path, signal);
    if (found === null) throw new ExtensionError('invalid', `There is no file ${path} in the container.`);
    if (found.type !== 'file')
      throw new ExtensionError('invalid', `${path} in the container is not a plain file.`);
    const session = await this.exec(reference, { ...PLAIN, command: ['cat', '--', path] }, signal);
    return stdoutOf(session);
  }

  async writeFile(
    reference: Reference,
    path: string,
    source: AsyncIterable<Uint8Array>,
    options: { readonly modeBits: number; readonly makeParents: boolean },
    signal: AbortSignal,
  ): Promise<number> {
    const words = [path, options.modeBits.toString(8), options.makeParents ? 'yes' : ''];
    const command = ['sh', '-c', WRITE, 'sh', ...words];
    const session = await this.exec(reference, { ...PLAIN, command, stdin: true }, signal);
    const complaint = collectText(session);
    let bytes = 0;
    for await (const piece of source) {
      await session.write(piece);
      bytes += piece.length;
    }
    session.closeInput();
    const said = await complaint;
    const { exitCode } = await session.exit;
    if (exitCode !== 0) throw new ExtensionError('invalid', `${path} could not be written: ${said.trim()}.`);
    return bytes;
  }

  async listDirectory(
    reference: Reference,
    path: string,
    signal: AbortSignal,
  ): Promise<readonly FileEntry[]> {
    const command = ['sh', '-c', LIST_DIRECTORY, 'sh', path];
    const session = await this.exec(reference, { ...OWN, command }, signal);
    const text = await collectText(session);
    const { exitCode } = await session.exit;
    if (exitCode !== 0)
      throw new ExtensionError('invalid', `${path} in the container cannot be listed: ${text.trim()}.`);
    return text
      .split('\0')
      .filter((line) => line !== '')
      .map(entryOfListing);
  }

  async stat(reference: Reference, path: string, signal: AbortSignal): Promise<FileEntry | null> {
    const query = `archive?path=${encodeURIComponent(path)}`;
    const ask = ({ api, container }: ContainerTarget) =>
      api.header(
        { method: 'HEAD', path: `/containers/${container}/${query}`, signal },
        'x-docker-container-path-stat',
      );
    const header = await this.#inContainer(reference, signal, ask);
    if (header !== null) return entryOfStat(posix.basename(path), header);
    /* "No such file" and "no such container" are one answer; with the container looked for anew it is the first. */
    if (!this.#containers.delete(reference.name)) return null;
    const again = await this.#inContainer(reference, signal, ask);
    return again === null ? null : entryOfStat(posix.basename(path), again);
  }

  async openPort(reference: Reference, port: number, signal: AbortSignal): Promise<Duplex> {
    const { client } = await this.#placed(reference);
    const facts = await this.#inContainer(reference, signal, ({ api, container }) =>
      api.json<ContainerFacts>({ method: 'GET', path: `/containers/${container}/json`, signal }),
    );
    await this.#requireListener(reference, port, signal);
    const address = Object.values(facts.NetworkSettings.Networks).find(({ IPAddress }) => IPAddress !== '');
    if (address === undefined) throw new ExtensionError('unsupported', 'The container has no network.');
    const stream = await client.link.connect({ address: address.IPAddress, port }, signal);
    this.#count(reference.name, new Promise((resolve) => stream.once('close', resolve)));
    return stream;
  }

  async logs(reference: Reference, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    return followLogs(await this.#placed(reference), signal);
  }

  /** A connection through the host shows only later that nobody took it, so this looks first. */
  async #requireListener(reference: Reference, port: number, signal: AbortSignal): Promise<void> {
    const command = ['cat', '/proc/net/tcp', '/proc/net/tcp6'];
    const session = await this.exec(reference, { ...OWN, command }, signal);
    const listener = listenerOf(await collectText(session), port);
    if (listener === 'none')
      throw new ExtensionError('transient', `Nothing listens on port ${port} in the service.`);
    if (listener === 'loopback') {
      throw new ExtensionError(
        'unsupported',
        `Port ${port} listens on 127.0.0.1 inside its container only; let it listen on 0.0.0.0.`,
      );
    }
  }

  async #target(reference: Reference, signal: AbortSignal): Promise<ContainerTarget> {
    const { client, name, service } = await this.#placed(reference);
    const api = new EngineApi(client);
    const known = this.#containers.get(name);
    if (known !== undefined) return { api, container: known };
    const label = [`sandboxer.name=${name}`, `com.docker.compose.service=${service}`];
    const filters = encodeURIComponent(JSON.stringify({ label, status: ['running'] }));
    const path = `/containers/json?filters=${filters}`;
    const found = await api.json<readonly ContainerFacts[]>({ method: 'GET', path, signal });
    const first = found.toSorted((left, right) => numberOf(left) - numberOf(right))[0];
    if (first === undefined) throw new ExtensionError('transient', `The service ${service} does not run.`);
    this.#containers.set(name, first.Id);
    return { api, container: first.Id };
  }
}

const numberOf = ({ Labels }: ContainerFacts) => Number(Labels['com.docker.compose.container-number'] ?? 0);

async function collectText(session: ExecSession): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const { data } of session.output) {
    bytes += data.length;
    if (bytes <= TEXT_BYTES_MAX) chunks.push(data);
  }
  return Buffer.concat(chunks).toString('utf8');
}

async function* stdoutOf(session: ExecSession): AsyncIterable<Uint8Array> {
  let said = '';
  for await (const { stream, data } of session.output) {
    if (stream === 'stdout') yield data;
    else said = (said + Buffer.from(data).toString('utf8')).slice(-COMPLAINT_CHARACTERS_MAX);
  }
  const { exitCode } = await session.exit;
  if (exitCode !== 0) throw new ExtensionError('invalid', `The file cannot be read: ${said.trim()}.`);
}

/** Runs on by itself; what it says is read and dropped here, and its own redirection decides where it goes. */
function detached(session: ExecSession): ExecSession {
  const done = Promise.resolve({ exitCode: 0, signal: null, timedOut: false, outputTruncated: false });
  return {
    pid: session.pid,
    output: { async *[Symbol.asyncIterator]() {} },
    exit: done,
    write: () => Promise.reject(new ExtensionError('unsupported', 'A detached command has no input.')),
    closeInput: () => undefined,
    sendSignal: (signal) => session.sendSignal(signal),
    resize: () => undefined,
    close: () => undefined,
  };
}
