/** Paths of a tree, in the order of `compareInTree`. */
import { compareInTree } from '../../domain/snapshot/tree-order.ts';
import { Damage } from './damage.ts';

const NUL = 0;
const SLASH = 0x2f;

/** Throws a `Damage` unless `path` comes after the one before it. */
export function demandOrder(before: Uint8Array | null, path: Uint8Array): void {
  if (before !== null && compareInTree(before, path) >= 0) throw new Damage('it is not in order');
}

/** Each ended by a NUL, of which each is asked for in that order too. Throws a `Damage` for what is not in order. */
export class Names {
  readonly #bytes: Buffer;
  #path: Buffer | null = null;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#next();
  }

  has(path: Buffer): boolean {
    while (this.#path !== null && compareInTree(this.#path, path) < 0) this.#next();
    return this.#path?.equals(path) === true;
  }

  /** Whether there is one that lies below `path`. */
  hasBelow(path: Buffer): boolean {
    if (this.has(path)) this.#next();
    return this.#path?.[path.length] === SLASH && this.#path.subarray(0, path.length).equals(path);
  }

  /** What nobody asked for is in order too. */
  finish(): void {
    while (this.#path !== null) this.#next();
  }

  #next(): void {
    const end = this.#bytes.indexOf(NUL, this.#at);
    if (end === -1 && this.#at < this.#bytes.length) throw new Damage('its names end in the middle');
    const path = end === -1 ? null : this.#bytes.subarray(this.#at, end);
    if (path !== null) demandOrder(this.#path, path);
    this.#path = path;
    this.#at = end === -1 ? this.#bytes.length : end + 1;
  }
}
