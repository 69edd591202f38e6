import { Transform, type TransformCallback } from 'node:stream';

const BEFORE_START_BYTES_MAX = 64 * 1024;

/**
 * The stderr of a remote command without the two marks of `remoteCommandLine`: `<mark>+<pid>\n` when it starts and
 * `<mark>-` when it ended with 255. What comes before the start (a talkative login shell, or `ssh` itself) is kept
 * apart in `preamble`.
 */
export class StatusFilter extends Transform {
  /** The process group on the host, once the command has started. */
  readonly started: Promise<number>;
  preamble = '';
  /** The program itself ended with 255. */
  sawEnd = false;
  readonly #startMark: Buffer;
  readonly #endMark: Buffer;
  readonly #start = Promise.withResolvers<number>();
  #processGroup: number | null = null;
  #held: Buffer = Buffer.alloc(0);

  constructor(mark: string) {
    super();
    this.#startMark = Buffer.from(`${mark}+`);
    this.#endMark = Buffer.from(`${mark}-`);
    this.started = this.#start.promise;
  }

  get processGroup(): number | null {
    return this.#processGroup;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    const data = Buffer.concat([this.#held, chunk]);
    this.#held = Buffer.alloc(0);
    this.#pass(this.#processGroup === null ? this.#beforeStart(data) : data);
    done();
  }

  override _flush(done: TransformCallback): void {
    if (this.#processGroup === null) this.preamble = this.#held.toString('utf8');
    else if (this.#held.length > 0) this.push(this.#held);
    done();
  }

  /** Answers what follows the start mark; until that has come everything is held. */
  #beforeStart(data: Buffer): Buffer {
    const at = data.indexOf(this.#startMark);
    const end = at === -1 ? -1 : data.indexOf('\n', at);
    if (end === -1) {
      this.#held = at === -1 && data.length > BEFORE_START_BYTES_MAX ? data.subarray(-1024) : data;
      return Buffer.alloc(0);
    }
    this.preamble = data.subarray(0, at).toString('utf8');
    this.#processGroup = Number(data.toString('latin1', at + this.#startMark.length, end));
    this.#start.resolve(this.#processGroup);
    return data.subarray(end + 1);
  }

  #pass(data: Buffer): void {
    const at = data.indexOf(this.#endMark);
    if (at !== -1) {
      this.sawEnd = true;
      const rest = Buffer.concat([data.subarray(0, at), data.subarray(at + this.#endMark.length)]);
      if (rest.length > 0) this.push(rest);
      return;
    }
    const held = this.#processGroup === null ? 0 : this.#beginningOfMark(data);
    if (held > 0) this.#held = data.subarray(data.length - held);
    if (data.length > held) this.push(data.subarray(0, data.length - held));
  }

  /** How many of the last bytes could be the beginning of the end mark. */
  #beginningOfMark(data: Buffer): number {
    for (let length = Math.min(this.#endMark.length - 1, data.length); length > 0; length -= 1) {
      if (data.subarray(data.length - length).equals(this.#endMark.subarray(0, length))) return length;
    }
    return 0;
  }
}
