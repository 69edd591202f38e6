import type { Duplex } from 'node:stream';
import type { z } from 'zod';
import type { ErrorCode } from '../domain/errors.ts';
import type { Engine } from '../engine/engine.ts';
import type { ExecSession, Finding } from '../ports/extension.ts';

export const SCOPES = ['read', 'write', 'exec', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];

/** Who asks. `project` null sees every project; `operator` is the owner of the home (its socket, its process). */
export interface Principal {
  readonly id: string;
  readonly project: string | null;
  readonly scopes: readonly Scope[];
  readonly operator: boolean;
}

export interface OperationContext {
  readonly engine: Engine;
  readonly principal: Principal;
  readonly signal: AbortSignal;
  readonly idempotencyKey: string | null;
  /** Facts about this installation, for doctor and version. */
  readonly installation: Installation;
}

export interface Installation {
  readonly version: string;
  readonly home: string;
  /** Directories below which callers other than the operator may name paths. */
  readonly inputRoots: readonly string[];
  diagnose(signal: AbortSignal): Promise<readonly Finding[]>;
}

export interface HttpBinding {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path parameters in braces are fields of the input; the rest is query (GET, DELETE, streams) or body. */
  readonly path: string;
  readonly status?: number;
}

export interface CliBinding {
  /** Words after `sandboxer`. */
  readonly command: readonly string[];
  /** Fields taken by position, in order. */
  readonly positional: readonly string[];
  /** Field → flag as commander writes it, e.g. `--ttl <duration>`; the help text is the field's description. */
  readonly flags: Readonly<Record<string, string>>;
}

interface Common<Input extends z.ZodType> {
  readonly name: string;
  readonly summary: string;
  readonly input: Input;
  readonly scope: Scope;
  /** Concerns the whole machine: for its operator alone, never for a token of a project. */
  readonly hostWide?: boolean;
  readonly effect: 'read' | 'write' | 'destructive';
  /** Takes an Idempotency-Key. */
  readonly keyed: boolean;
  readonly errors: readonly ErrorCode[];
  /** Complete command lines that work. */
  readonly examples: readonly string[];
  readonly http: HttpBinding;
  /** A string is the reason why the command line lacks it. */
  readonly cli: CliBinding | string;
}

export interface CallOperation<Input extends z.ZodType = z.ZodType, Output extends z.ZodType = z.ZodType>
  extends Common<Input> {
  readonly shape: 'call';
  readonly output: Output;
  run(context: OperationContext, input: z.output<Input>): Promise<z.input<Output>>;
  /** The same answer as JSON in UTF-8, for a face that sends it on; where it can be had for less than by `run`. */
  json?(context: OperationContext, input: z.output<Input>): Promise<Uint8Array>;
}

export interface ExecOperation<Input extends z.ZodType = z.ZodType> extends Common<Input> {
  readonly shape: 'exec';
  run(context: OperationContext, input: z.output<Input>): Promise<ExecSession>;
}

export interface DownloadOperation<Input extends z.ZodType = z.ZodType> extends Common<Input> {
  readonly shape: 'download';
  readonly mediaType: string;
  run(context: OperationContext, input: z.output<Input>): Promise<AsyncIterable<Uint8Array>>;
}

export interface UploadOperation<Input extends z.ZodType = z.ZodType, Output extends z.ZodType = z.ZodType>
  extends Common<Input> {
  readonly shape: 'upload';
  readonly output: Output;
  run(
    context: OperationContext,
    input: z.output<Input>,
    body: AsyncIterable<Uint8Array>,
  ): Promise<z.input<Output>>;
}

export interface EventsOperation<Input extends z.ZodType = z.ZodType, Output extends z.ZodType = z.ZodType>
  extends Common<Input> {
  readonly shape: 'events';
  readonly output: Output;
  /** Rejects before the stream begins where there is nothing to stream. */
  run(context: OperationContext, input: z.output<Input>): Promise<AsyncIterable<z.input<Output>>>;
}

export interface TunnelOperation<Input extends z.ZodType = z.ZodType> extends Common<Input> {
  readonly shape: 'tunnel';
  run(context: OperationContext, input: z.output<Input>): Promise<Duplex>;
}

export type Operation =
  | CallOperation
  | ExecOperation
  | DownloadOperation
  | UploadOperation
  | EventsOperation
  | TunnelOperation;

/** Keeps the types of input and output inside one definition while the table holds them as one kind. */
export const call = <I extends z.ZodType, O extends z.ZodType>(
  operation: Omit<CallOperation<I, O>, 'shape'>,
) => ({ ...operation, shape: 'call' }) as CallOperation<I, O>;
export const exec = <I extends z.ZodType>(operation: Omit<ExecOperation<I>, 'shape'>) =>
  ({ ...operation, shape: 'exec' }) as ExecOperation<I>;
export const download = <I extends z.ZodType>(operation: Omit<DownloadOperation<I>, 'shape'>) =>
  ({ ...operation, shape: 'download' }) as DownloadOperation<I>;
export const upload = <I extends z.ZodType, O extends z.ZodType>(
  operation: Omit<UploadOperation<I, O>, 'shape'>,
) => ({ ...operation, shape: 'upload' }) as UploadOperation<I, O>;
export const events = <I extends z.ZodType, O extends z.ZodType>(
  operation: Omit<EventsOperation<I, O>, 'shape'>,
) => ({ ...operation, shape: 'events' }) as EventsOperation<I, O>;
export const tunnel = <I extends z.ZodType>(operation: Omit<TunnelOperation<I>, 'shape'>) =>
  ({ ...operation, shape: 'tunnel' }) as TunnelOperation<I>;
