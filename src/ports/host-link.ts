/** A way to run programs on a host, over SSH or on this machine. Argument vectors only: no caller writes shell. */
import type { Duplex, Readable, Writable } from 'node:stream';
import type { Host } from '../domain/host/host.ts';

export interface HostCommand {
  /** The program and its arguments, each one word whatever characters it holds. */
  readonly command: readonly string[];
  /** Absolute; the login directory where null. */
  readonly workingDirectory?: string | null;
  readonly environment?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export interface RunCommand extends HostCommand {
  readonly input?: string | Uint8Array;
  /** The command is ended, and the call rejects as `transient`, when it takes longer. */
  readonly timeoutMs: number;
  /** Output beyond this ends the command with a `bug` error; 4 MiB unless said. */
  readonly outputLimitBytes?: number;
}

export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command under way. Not reading `stdout` slows it down; `kill` ends the local end and, over SSH, hangs up. */
export interface HostProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Resolves with the exit code, 128 + n for signal n; rejects with an ExtensionError when the link broke. */
  readonly exit: Promise<number>;
  kill(): void;
}

/**
 * Rejections are ExtensionError: `unauthenticated` (the key was refused), `forbidden` (the host key is unknown or has
 * changed; the message gives the command that adds it), `transient` (no connection, the link broke, a deadline).
 * A link that breaks while a command runs rejects as `ambiguous`: it may have had its effect.
 */
export interface HostLink {
  readonly host: Host;
  run(command: RunCommand): Promise<CommandResult>;
  start(command: HostCommand): Promise<HostProcess>;
  /** Copies a directory tree to the host, by rsync where both ends have it, else by tar. The target is made. */
  upload(tree: {
    readonly from: string;
    readonly to: string;
    /** Paths inside `from`, relative, of what is copied; everything where null. */
    readonly files: readonly string[] | null;
    readonly signal: AbortSignal;
    readonly timeoutMs: number;
  }): Promise<void>;
  /** Bytes to and from a TCP port (`address` as seen from the host), or a Unix socket of the host. */
  connect(
    target: { readonly address: string; readonly port: number } | { readonly socket: string },
    signal: AbortSignal,
  ): Promise<Duplex>;
  /** Ends the shared connection. Safe to repeat; a later call opens it again. */
  close(): Promise<void>;
}

export interface HostLinks {
  /** The one link to a host; the same object while nothing about how to reach it has changed. */
  link(host: Host): HostLink;
  close(): Promise<void>;
}
