import { createReadStream } from 'node:fs';
import { basename, join } from 'node:path';
import type { Duplex } from 'node:stream';
import { begun } from '../../domain/streams.ts';
import {
  type ExecSession,
  type ExecSpec,
  ExtensionError,
  type FileEntry,
  type Reference,
  type Sessions,
} from '../../ports/extension.ts';
import type { Boxes } from './client.ts';
import { fromAgent } from './errors.ts';
import type { FileInfo } from './native/agent-client.ts';
import { AgentError } from './native/agent-error.ts';
import type { ExecSession as AgentSession } from './native/exec-session.ts';

function entryOf(name: string, info: Pick<FileInfo, 'type' | 'size' | 'modeBits' | 'modifiedMs'>): FileEntry {
  const type = info.type === 'link' ? 'symlink' : info.type;
  return {
    name,
    type: type === 'file' || type === 'directory' || type === 'symlink' ? type : 'other',
    sizeBytes: info.size,
    modeBits: info.modeBits,
    modifiedAtMs: info.modifiedMs,
  };
}

async function translated<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw fromAgent(error);
  }
}

async function* translatedStream<Item>(source: AsyncIterable<Item>): AsyncIterable<Item> {
  try {
    yield* source;
  } catch (error) {
    throw fromAgent(error);
  }
}

function sessionOf(session: AgentSession): ExecSession {
  const exit = translated(() => session.exit);
  exit.catch(() => undefined); // told to whoever awaits `exit` or reads `output`
  return {
    pid: session.pid,
    output: translatedStream(session.output),
    exit,
    write: (data) => translated(() => session.write(data)),
    closeInput: () => session.closeInput(),
    sendSignal(signal) {
      session.signal(signal).catch(() => undefined); // a command that has just ended takes no signal
    },
    resize: (columns, rows) => session.resize(columns, rows),
    close: () => session.close(),
  };
}

export class LocalSessions implements Sessions {
  readonly #boxes: Boxes;

  constructor(boxes: Boxes) {
    this.#boxes = boxes;
  }

  exec(reference: Reference, spec: ExecSpec, signal: AbortSignal): Promise<ExecSession> {
    return translated(async () => {
      const session = await this.#boxes.agent(reference.name).exec({
        argv: spec.command,
        env: { ...this.#boxes.environment(reference.name), ...spec.environment },
        ...(spec.workingDirectory === null ? {} : { cwd: spec.workingDirectory }),
        user: spec.user,
        ...(spec.terminal === null ? {} : { tty: spec.terminal }),
        stdin: spec.stdin ? 'pipe' : 'null',
        ...(spec.timeoutMs === 0 ? {} : { timeoutMs: spec.timeoutMs }),
        ...(spec.outputLimitBytes === 0 ? {} : { outputLimitBytes: spec.outputLimitBytes }),
        detach: spec.detach,
        signal,
      });
      return sessionOf(session);
    });
  }

  readFile(reference: Reference, path: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    return begun(translatedStream(this.#boxes.agent(reference.name).readFile(path, { signal })));
  }

  writeFile(
    reference: Reference,
    path: string,
    source: AsyncIterable<Uint8Array>,
    options: { readonly modeBits: number; readonly makeParents: boolean },
    signal: AbortSignal,
  ): Promise<number> {
    return translated(() =>
      this.#boxes.agent(reference.name).writeFile(path, source, { ...options, signal }),
    );
  }

  listDirectory(reference: Reference, path: string, signal: AbortSignal): Promise<readonly FileEntry[]> {
    return translated(async () => {
      const entries = await this.#boxes.agent(reference.name).listDirectory(path, { signal });
      return entries.map((entry) => entryOf(entry.name, entry));
    });
  }

  async stat(reference: Reference, path: string, signal: AbortSignal): Promise<FileEntry | null> {
    try {
      return entryOf(basename(path), await this.#boxes.agent(reference.name).stat(path, { signal }));
    } catch (error) {
      if (error instanceof AgentError && error.code === 'not_found') return null;
      throw fromAgent(error);
    }
  }

  openPort(reference: Reference, port: number, signal: AbortSignal): Promise<Duplex> {
    return translated(() => this.#boxes.agent(reference.name).forward(port, { signal }));
  }

  async logs(reference: Reference, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    if (!this.#boxes.exists(reference.name)) throw new ExtensionError('transient', 'The sandbox is gone.');
    return createReadStream(join(this.#boxes.path(reference.name), 'sandbox.log'), { signal });
  }
}
