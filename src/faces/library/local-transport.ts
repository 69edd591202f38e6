import type { Duplex } from 'node:stream';
import { asSandboxerError } from '../../domain/errors.ts';
import { LIMITS } from '../../domain/limits.ts';
import type { Composed } from '../../main.ts';
import { OPERATOR } from '../../operations/access.ts';
import { admit } from '../../operations/dispatch.ts';
import type { Operation, OperationContext } from '../../operations/operation.ts';
import { OPERATIONS, type OperationName } from '../../operations/table.ts';
import type { EventView } from '../../operations/view.ts';
import type { ExecSession } from '../../ports/extension.ts';
import type {
  CallInput,
  CallName,
  CallOptions,
  CallOutput,
  DownloadName,
  ExecInput,
  Transport,
  UploadName,
} from './transport.ts';

type Raw = Readonly<Record<string, unknown>>;

const operationOf = (name: OperationName): Operation => OPERATIONS[name] as unknown as Operation;

/** Runs the operations in this process, as the owner of the home. */
export class LocalTransport implements Transport {
  readonly place = 'this process';
  readonly embedded = true;
  readonly #composed: Composed;

  constructor(composed: Composed) {
    this.#composed = composed;
  }

  async call<Name extends CallName>(
    name: Name,
    input: CallInput<Name>,
    options: CallOptions = {},
  ): Promise<CallOutput<Name>> {
    const operation = operationOf(name);
    if (operation.shape !== 'call') throw new TypeError(`${name} is no call`);
    const context = this.#context(options.signal, options.idempotencyKey);
    const answer = await this.#run(() => operation.run(context, admit(operation, context, input)));
    return answer as CallOutput<Name>;
  }

  exec(input: ExecInput, signal?: AbortSignal): Promise<ExecSession> {
    const operation = OPERATIONS.exec;
    const context = this.#context(signal);
    return this.#run(() =>
      operation.run(context, admit(operation as unknown as Operation, context, input) as never),
    );
  }

  download(name: DownloadName, input: Raw, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const operation = operationOf(name);
    if (operation.shape !== 'download') throw new TypeError(`${name} is no download`);
    const context = this.#context(signal);
    return this.#run(() => operation.run(context, admit(operation, context, input)));
  }

  upload(
    name: UploadName,
    input: Raw,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const operation = operationOf(name);
    if (operation.shape !== 'upload') throw new TypeError(`${name} is no upload`);
    const context = this.#context(signal);
    return this.#run(() => operation.run(context, admit(operation, context, input), body));
  }

  async *events(
    input: { id: string; after?: number; follow?: boolean },
    signal?: AbortSignal,
  ): AsyncIterable<EventView> {
    const operation = OPERATIONS.events;
    const context = this.#context(signal);
    const admitted = admit(operation as unknown as Operation, context, input) as never;
    yield* await this.#run(() => operation.run(context, admitted));
  }

  openPort(input: { id: string; port: number }, signal?: AbortSignal): Promise<Duplex> {
    const operation = OPERATIONS.open_port;
    const context = this.#context(signal);
    return this.#run(() =>
      operation.run(context, admit(operation as unknown as Operation, context, input) as never),
    );
  }

  detach(): Promise<void> {
    return this.#composed.detach();
  }

  /** What an earlier process left unfinished and this one took up gets a moment to end. */
  async close(): Promise<void> {
    await this.#composed.engine.runner.quiesce(LIMITS.quiescePatienceMs);
    await this.#composed.close();
  }

  #context(signal?: AbortSignal, idempotencyKey?: string): OperationContext {
    return {
      engine: this.#composed.engine,
      installation: this.#composed.installation,
      principal: OPERATOR,
      signal: signal ?? new AbortController().signal,
      idempotencyKey: idempotencyKey ?? null,
    };
  }

  async #run<Result>(work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      throw asSandboxerError(error);
    }
  }
}
