/** Paths of a tree, in the order of `compareInTree`. */
import { compareInTree } from '../../domain/snapshot/tree-order.ts';
import { Damage } from './damage.ts';

const NUL = 0;
const SLASH = 0x2f;

/** Throws a `Damage` unless `path` comes after the one before it. */
export function demandOrder(before: Uint8Array | null, path: Uint8Array): void {
  if (before !== null && compareInTree(before, path) >= 0) throw new Damage('it is not in order');
}

/**
 * Each ended by a NUL; one that ends with a slash is that of a directory with all that is in it. Paths are asked for in the same
 * order. Throws a `Damage` for what is not in order.
 */
export class Names {
  readonly #bytes: Buffer;
  #name: Buffer | null = null;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#next();
  }

  has(path: Buffer): boolean {
    while (this.#name !== null && !this.#isTreeWith(path) && compareInTree(this.#name, path) < 0)
      this.#next();
    return this.#name?.equals(path) === true || this.#isTreeWith(path);
  }

  /** Whether there is anything that lies below `path`. */
  hasBelow(path: Buffer): boolean {
    if (this.has(path) && this.#name?.length === path.length) this.#next();
    return this.#name?.[path.length] === SLASH && this.#name.subarray(0, path.length).equals(path);
  }

  /** What nobody asked for is in order too. */
  finish(): void {
    while (this.#name !== null) this.#next();
  }

  #isTreeWith(path: Buffer): boolean {
    const name = this.#name;
    if (name?.at(-1) !== SLASH) return false;
    const end = name.length - 1;
    return path.subarray(0, end).equals(name.subarray(0, end)) && [undefined, SLASH].includes(path[end]);
  }

  #next(): void {
    const end = this.#bytes.indexOf(NUL, this.#at);
    if (end === -1 && this.#at < this.#bytes.length) throw new Damage('its names end in the middle');
    const name = end === -1 ? null : this.#bytes.subarray(this.#at, end);
    if (name !== null) demandOrder(this.#name, name);
    this.#name = name;
    this.#at = end === -1 ? this.#bytes.length : end + 1;
  }
}
