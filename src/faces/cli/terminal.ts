import { once } from 'node:events';
import { styleText } from 'node:util';

export type Style = Parameters<typeof styleText>[0];

export interface GlobalFlags {
  readonly json: boolean;
  readonly quiet: boolean;
  /** False after `--no-color`. */
  readonly color: boolean;
}

const WIDTH_FALLBACK = 100;

function wantsColor(stream: NodeJS.WriteStream, flags: GlobalFlags): boolean {
  const { NO_COLOR, TERM } = process.env;
  return flags.color && stream.isTTY === true && (NO_COLOR ?? '') === '' && TERM !== 'dumb';
}

/** The reader went away (`sandboxer … | head`): there is nobody left to tell anything. */
export class ReaderGone extends Error {}

/** Where the command's words go: answers to standard output, everything else to standard error. */
export class Terminal {
  readonly flags: GlobalFlags;
  /** Answers are JSON: it was asked for, or nobody sits at the other end. */
  readonly json: boolean;
  /** Somebody watches standard error, so progress may move. */
  readonly watched: boolean;
  readonly #colorOut: boolean;
  readonly #colorError: boolean;

  constructor(flags: GlobalFlags) {
    this.flags = flags;
    this.json = flags.json || process.stdout.isTTY !== true;
    this.watched = process.stderr.isTTY === true && !flags.quiet && process.env.TERM !== 'dumb';
    this.#colorOut = wantsColor(process.stdout, flags);
    this.#colorError = wantsColor(process.stderr, flags);
  }

  get columns(): number {
    return process.stdout.columns || process.stderr.columns || WIDTH_FALLBACK; // 0 is a terminal without a size
  }

  /** Styles text that goes to standard output. */
  readonly paint = (style: Style, text: string): string =>
    this.#colorOut && text !== '' ? styleText(style, text, { validateStream: false }) : text;

  /** Styles text that goes to standard error. */
  readonly paintError = (style: Style, text: string): string =>
    this.#colorError ? styleText(style, text, { validateStream: false }) : text;

  async out(data: string | Uint8Array): Promise<void> {
    await write(process.stdout, data);
  }

  async outJson(value: unknown): Promise<void> {
    await this.out(`${JSON.stringify(value, null, 2)}\n`);
  }

  /** One line for the person, unless quiet. */
  say(line: string): void {
    if (!this.flags.quiet) process.stderr.write(`${line}\n`);
  }

  /** One line that must be seen. */
  complain(line: string): void {
    process.stderr.write(`${line}\n`);
  }
}

/** Writes and waits while the reader is slow. Rejects with `ReaderGone` where nobody reads any more. */
export async function write(stream: NodeJS.WriteStream, data: string | Uint8Array): Promise<void> {
  if (stream.destroyed) throw new ReaderGone();
  try {
    if (!stream.write(data)) await once(stream, 'drain');
  } catch (error) {
    if (isReaderGone(error)) throw new ReaderGone();
    throw error;
  }
}

/** Resolves once everything written has left the process, or nobody reads any more. */
export function flushed(stream: NodeJS.WriteStream): Promise<void> {
  if (stream.destroyed || stream.writableLength === 0) return Promise.resolve();
  return new Promise((resolve) => stream.write('', () => resolve()));
}

export function isReaderGone(error: unknown): boolean {
  if (error instanceof ReaderGone) return true;
  return error instanceof Error && 'code' in error && (error.code === 'EPIPE' || error.code === 'EIO');
}
