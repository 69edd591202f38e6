import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Of a Unix socket's path on the systems there are, without its NUL: 103 bytes. */
const SOCKET_PATH_BYTES_MAX = 103;
/** What follows the directory: `/0123456789ab/m`, and what `ssh` appends while it makes the socket. */
const SUFFIX_BYTES = '/0123456789ab/m'.length + '.0123456789abcdef'.length;
/** `ssh` gives these a meaning in a control path or a forward. */
const MEANINGFUL = /[%$:\\[\]\s]/;

/** The private directory of the control sockets: the one wished for, or a short one when its path cannot hold a socket. */
export class ControlDirectory {
  readonly #wish: string;
  #path: string | null = null;
  #isOurs = false;

  constructor(wish: string) {
    this.#wish = wish;
  }

  /** Made with mode 0700 at the first call. */
  path(): string {
    if (this.#path !== null) return this.#path;
    if (Buffer.byteLength(this.#wish) + SUFFIX_BYTES > SOCKET_PATH_BYTES_MAX || MEANINGFUL.test(this.#wish)) {
      this.#path = mkdtempSync(join(tmpdir(), 'sandboxer-'));
      this.#isOurs = true;
    } else {
      mkdirSync(this.#wish, { recursive: true, mode: 0o700 });
      chmodSync(this.#wish, 0o700);
      this.#path = this.#wish;
    }
    return this.#path;
  }

  remove(): void {
    if (this.#path !== null && this.#isOurs) rmSync(this.#path, { recursive: true, force: true });
    this.#path = null;
    this.#isOurs = false;
  }
}
