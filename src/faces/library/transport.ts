import type { Duplex } from 'node:stream';
import type { z } from 'zod';
import type { HttpBinding } from '../../operations/operation.ts';
import type { OPERATIONS, OperationName } from '../../operations/table.ts';
import type { EventView } from '../../operations/view.ts';
import type { ExecSession } from '../../ports/extension.ts';

type Table = typeof OPERATIONS;

type NamesOf<Shape extends string> = {
  [Name in OperationName]: Table[Name] extends { shape: Shape } ? Name : never;
}[OperationName];

/** The names of the operations that answer once, with JSON. */
export type CallName = NamesOf<'call'>;
export type DownloadName = NamesOf<'download'>;
export type UploadName = NamesOf<'upload'>;

/** Where an operation is found over HTTP. */
export interface Route extends Pick<HttpBinding, 'method' | 'path'> {
  /** Takes an Idempotency-Key. */
  readonly keyed: boolean;
}

export type CallInput<Name extends CallName> = z.input<Table[Name]['input']>;
export type CallOutput<Name extends CallName> = Table[Name] extends { output: infer Output extends z.ZodType }
  ? z.output<Output>
  : never;

export type ExecInput = z.input<Table['exec']['input']>;

export interface CallOptions {
  readonly signal?: AbortSignal;
  readonly idempotencyKey?: string;
}

/** How a client reaches an engine: in its own process, or over HTTP. Both answer the same, errors included. */
export interface Transport {
  /** Where it goes, for people: a URL, a socket, or `this process`. */
  readonly place: string;
  /** The engine runs in this process, so nothing goes on once it is closed. */
  readonly embedded: boolean;
  call<Name extends CallName>(
    name: Name,
    input: CallInput<Name>,
    options?: CallOptions,
  ): Promise<CallOutput<Name>>;
  exec(input: ExecInput, signal?: AbortSignal): Promise<ExecSession>;
  download(
    name: DownloadName,
    input: Readonly<Record<string, unknown>>,
    signal?: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>>;
  upload(
    name: UploadName,
    input: Readonly<Record<string, unknown>>,
    body: AsyncIterable<Uint8Array>,
    signal?: AbortSignal,
  ): Promise<unknown>;
  events(
    input: { id: string; after?: number; follow?: boolean },
    signal?: AbortSignal,
  ): AsyncIterable<EventView>;
  openPort(input: { id: string; port: number }, signal?: AbortSignal): Promise<Duplex>;
  /**
   * Gives the home free for other processes while sessions that are open go on; nothing new can be asked. Does
   * nothing where a server holds the home.
   */
  detach(): Promise<void>;
  close(): Promise<void>;
}
