/**
 * What an entry of an archive may be. The same rules hold for what a sandbox gives when it is captured and for what is
 * read when it is restored: both come from places that may lie.
 */
import { linkStaysBelow } from '../link.ts';
import { printable } from '../text.ts';

const PATH_BYTES_MAX = 4_095;
const NAME_BYTES_MAX = 255;
const DEPTH_MAX = 512;
const ID_MAX = 0x7fff_ffff;
const SECONDS_MAX = 0x7fff_ffff;
const SET_ID_BITS = 0o6000;

export type EntryType = 'directory' | 'file' | 'symlink' | 'link';

/** An entry as it was read. */
export interface RawEntry {
  /** Relative to the part. */
  readonly name: string;
  readonly type: string;
  readonly sizeBytes: number;
  readonly modeBits: number;
  readonly modifiedAtS: number;
  readonly userId: number;
  readonly groupId: number;
  readonly linkTarget: string | null;
  /** Its content is not what follows, but how to put it together. */
  readonly isSparse: boolean;
}

export interface CheckedEntry {
  /** Relative, without `.` or an end of `/`; empty for the top. */
  readonly path: string;
  readonly type: EntryType;
  readonly sizeBytes: number;
  readonly modeBits: number;
  readonly modifiedAtS: number;
  readonly userId: number;
  readonly groupId: number;
  readonly linkTarget: string | null;
}

/** `special`: it can exist in an honest sandbox and is left out of a capture. `hostile`: no honest program writes it. */
export class EntryRefusal extends Error {
  readonly kind: 'special' | 'hostile';
  readonly path: string;
  readonly why: string;

  constructor(kind: EntryRefusal['kind'], path: string, why: string) {
    super(`${printable(path, 120)} ${why}`);
    this.name = 'EntryRefusal';
    this.kind = kind;
    this.path = path;
    this.why = why;
  }
}

function hostile(path: string, why: string): EntryRefusal {
  return new EntryRefusal('hostile', path, why);
}

/** The parts of a path below a top. Throws for one that climbs out or cannot be a path. */
export function pathParts(text: string): string[] {
  if (text.includes('\0')) throw hostile(text, 'has a NUL in its name');
  if (text.startsWith('/')) throw hostile(text, 'has an absolute name');
  if (Buffer.byteLength(text) > PATH_BYTES_MAX) throw hostile(text, 'has too long a name');
  const parts = text.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw hostile(text, 'climbs out');
  if (parts.length > DEPTH_MAX) throw hostile(text, 'lies too deep');
  if (parts.some((part) => Buffer.byteLength(part) > NAME_BYTES_MAX))
    throw hostile(text, 'has too long a name');
  return parts;
}

const TYPES: Readonly<Record<string, EntryType>> = {
  directory: 'directory',
  file: 'file',
  'contiguous-file': 'file',
  symlink: 'symlink',
  link: 'link',
};
const SPECIAL: Readonly<Record<string, string>> = {
  fifo: 'is a pipe',
  'character-device': 'is a device',
  'block-device': 'is a device',
};

function typeOf(raw: RawEntry): EntryType {
  const type = TYPES[raw.type];
  if (type !== undefined) return type;
  const special = SPECIAL[raw.type];
  if (special !== undefined) throw new EntryRefusal('special', raw.name, special);
  throw hostile(raw.name, `is of the unknown type ${printable(raw.type, 20)}`);
}

function whole(value: number, maximum: number): number {
  return Number.isInteger(value) && value >= 0 ? Math.min(value, maximum) : 0;
}

/** Of one part, in its order: a directory comes before what is in it, and what is in it follows without a gap. */
export class EntryRules {
  readonly #open: { readonly path: string; readonly names: Set<string> }[] = [];
  readonly #links = new Set<string>();
  readonly #ownerId: number | null;

  /** `ownerId` is whose everything becomes; null keeps the numbers, which mean something inside of a volume. */
  constructor(ownerId: number | null) {
    this.#ownerId = ownerId;
  }

  check(raw: RawEntry): CheckedEntry {
    const parts = pathParts(raw.name);
    const path = parts.join('/');
    const type = typeOf(raw);
    if (raw.isSparse) throw hostile(raw.name, 'is a sparse file');
    if (path.includes('\ufffd')) throw new EntryRefusal('special', path, 'has a name that is not UTF-8');
    if (!Number.isSafeInteger(raw.sizeBytes) || raw.sizeBytes < 0 || (type !== 'file' && raw.sizeBytes !== 0))
      throw hostile(path, 'has a size that cannot be');
    const linkTarget = this.#linkTarget(path, type, raw.linkTarget ?? '');
    this.#enter(parts, path, type);
    if (type === 'symlink') this.#links.add(path);
    const bits = raw.modeBits & (this.#ownerId === null ? 0o7777 : 0o777);
    return {
      path,
      type,
      sizeBytes: raw.sizeBytes,
      modeBits: type === 'directory' ? bits : bits & ~SET_ID_BITS,
      modifiedAtS: whole(Math.floor(raw.modifiedAtS), SECONDS_MAX),
      userId: this.#ownerId ?? whole(raw.userId, ID_MAX),
      groupId: this.#ownerId ?? whole(raw.groupId, ID_MAX),
      linkTarget,
    };
  }

  #linkTarget(path: string, type: EntryType, target: string): string | null {
    if (type === 'symlink') {
      if (target === '') throw hostile(path, 'is a link to nothing');
      if (target.includes('\ufffd'))
        throw new EntryRefusal('special', path, 'is a link to a name that is not UTF-8');
      if (!linkStaysBelow(path, target)) throw new EntryRefusal('special', path, 'is a link that leads out');
      return target;
    }
    if (type !== 'link') return null;
    const parts = pathParts(target);
    const to = parts.join('/');
    if (to === '' || to === path) throw hostile(path, 'is a hard link to nothing');
    if (this.#passesLink(parts)) throw hostile(path, 'is a hard link through another link');
    return to;
  }

  #passesLink(parts: readonly string[]): boolean {
    return parts.some((_, index) => index > 0 && this.#links.has(parts.slice(0, index).join('/')));
  }

  #enter(parts: readonly string[], path: string, type: EntryType): void {
    if (parts.length === 0) {
      if (type !== 'directory') throw hostile('the top', 'is no directory');
      if (this.#open.length > 0) throw hostile('the top', 'comes twice');
      this.#open.push({ path: '', names: new Set() });
      return;
    }
    const parent = parts.slice(0, -1).join('/');
    while (this.#open.length > 0 && this.#open.at(-1)!.path !== parent) this.#open.pop();
    const directory = this.#open.at(-1);
    if (directory === undefined) throw hostile(path, 'does not follow its directory');
    const name = parts.at(-1)!;
    if (directory.names.has(name)) throw hostile(path, 'comes twice');
    directory.names.add(name);
    if (type === 'directory') this.#open.push({ path, names: new Set() });
  }
}
