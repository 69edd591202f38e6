/**
 * The header block of an entry. Read: what POSIX, GNU and BusyBox programs write. Written: the form of GNU, which all of
 * them read, BusyBox included.
 */
import type { CheckedEntry, RawEntry } from '../../domain/snapshot/entry-rules.ts';
import { Damage } from './damage.ts';

export const BLOCK_BYTES = 512;

/** Where a field begins, and how many bytes it has. */
type Field = readonly [at: number, bytes: number];

const NAME: Field = [0, 100];
const MODE: Field = [100, 8];
const USER: Field = [108, 8];
const GROUP: Field = [116, 8];
const SIZE: Field = [124, 12];
const MODIFIED: Field = [136, 12];
const CHECKSUM: Field = [148, 8];
const TYPE_AT = 156;
const LINK: Field = [157, 100];
const MAGIC: Field = [257, 8];
const PREFIX: Field = [345, 155];
const GNU_MAGIC = 'ustar  \0';
const POSIX_MAGIC = 'ustar\0';
const SPACE = 0x20;

const TYPES: Readonly<Record<string, string>> = {
  '0': 'file',
  '\0': 'file',
  S: 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'character-device',
  '4': 'block-device',
  '5': 'directory',
  '6': 'fifo',
  '7': 'contiguous-file',
};
const FLAGS: Readonly<Record<CheckedEntry['type'], string>> = {
  file: '0',
  link: '1',
  symlink: '2',
  directory: '5',
};

/** What stands before an entry and says more of it than its header can. */
export interface Overrides {
  readonly name?: string;
  readonly linkTarget?: string;
  readonly sizeBytes?: number;
  readonly modifiedAtS?: number;
  readonly userId?: number;
  readonly groupId?: number;
  readonly isSparse?: boolean;
}

export function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

export function flagOf(block: Buffer): string {
  return String.fromCharCode(block[TYPE_AT]!);
}

/** Of what follows the header. */
export function sizeOf(block: Buffer): number {
  const bytes = numberIn(block, SIZE);
  if (!Number.isSafeInteger(bytes) || bytes < 0) throw new Damage('it has an entry of a size that cannot be');
  return bytes;
}

function sumOf(block: Buffer): number {
  let sum = CHECKSUM[1] * SPACE;
  for (let at = 0; at < CHECKSUM[0]; at += 1) sum += block[at]!;
  for (let at = CHECKSUM[0] + CHECKSUM[1]; at < BLOCK_BYTES; at += 1) sum += block[at]!;
  return sum;
}

export function checkHeader(block: Buffer): void {
  if (numberIn(block, CHECKSUM) !== sumOf(block)) throw new Damage('it has a broken header');
  const magic = block.toString('latin1', MAGIC[0], MAGIC[0] + MAGIC[1]);
  if (magic !== GNU_MAGIC && !magic.startsWith(POSIX_MAGIC)) throw new Damage('it is of an unknown format');
}

function textIn(block: Buffer, [at, bytes]: Field): string {
  const end = block.indexOf(0, at);
  return block.toString('utf8', at, end === -1 ? at + bytes : Math.min(end, at + bytes));
}

/** Octal digits between blanks, or a number of base 256. */
function numberIn(block: Buffer, [at, bytes]: Field): number {
  const first = block[at]!;
  if ((first & 0x80) !== 0) {
    let value = first === 0xff ? -1 : first & 0x7f;
    for (let index = at + 1; index < at + bytes; index += 1) value = value * 256 + block[index]!;
    return value;
  }
  const end = block.indexOf(0, at);
  const text = block.toString('latin1', at, end === -1 ? at + bytes : Math.min(end, at + bytes)).trim();
  if (!/^[0-7]*$/.test(text)) throw new Damage('it has a broken header');
  return text === '' ? 0 : Number.parseInt(text, 8);
}

export function decodeHeader(block: Buffer, more: Overrides): RawEntry {
  const flag = flagOf(block);
  const prefix = block[MAGIC[0] + 5] === 0 ? textIn(block, PREFIX) : '';
  const own = textIn(block, NAME);
  const name = more.name ?? (prefix === '' ? own : `${prefix}/${own}`);
  const isOldDirectory = (flag === '0' || flag === '\0') && name.endsWith('/');
  return {
    name,
    type: isOldDirectory ? 'directory' : (TYPES[flag] ?? flag),
    sizeBytes: more.sizeBytes ?? sizeOf(block),
    modeBits: numberIn(block, MODE) & 0o7777,
    modifiedAtS: more.modifiedAtS ?? numberIn(block, MODIFIED),
    userId: more.userId ?? numberIn(block, USER),
    groupId: more.groupId ?? numberIn(block, GROUP),
    linkTarget: more.linkTarget ?? textIn(block, LINK),
    isSparse: flag === 'S' || more.isSparse === true,
  };
}

function putNumber(block: Buffer, [at, bytes]: Field, value: number): void {
  const digits = value.toString(8);
  if (digits.length < bytes) {
    block.write(digits.padStart(bytes - 1, '0'), at, 'latin1');
    return;
  }
  block[at] = 0x80;
  block.writeUIntBE(value, at + bytes - 6, 6);
}

type Written = Pick<CheckedEntry, 'sizeBytes' | 'modeBits' | 'modifiedAtS' | 'userId' | 'groupId'>;

function blockOf(flag: string, name: Buffer, link: Buffer, entry: Written): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  name.copy(block, NAME[0], 0, NAME[1]);
  putNumber(block, MODE, entry.modeBits);
  putNumber(block, USER, entry.userId);
  putNumber(block, GROUP, entry.groupId);
  putNumber(block, SIZE, entry.sizeBytes);
  putNumber(block, MODIFIED, entry.modifiedAtS);
  block.write(flag, TYPE_AT, 'latin1');
  link.copy(block, LINK[0], 0, LINK[1]);
  block.write(GNU_MAGIC, MAGIC[0], 'latin1');
  block.write(`${sumOf(block).toString(8).padStart(6, '0')}\0 `, CHECKSUM[0], 'latin1');
  return block;
}

/** A name that no header has room for, as an entry of its own. */
function longName(flag: 'L' | 'K', name: Buffer): Buffer[] {
  const sizeBytes = name.length + 1;
  const entry: Written = { sizeBytes, modeBits: 0o644, modifiedAtS: 0, userId: 0, groupId: 0 };
  const content = Buffer.alloc(sizeBytes + paddingOf(sizeBytes));
  name.copy(content);
  return [blockOf(flag, Buffer.from('././@LongLink'), NOTHING, entry), content];
}

const NOTHING = Buffer.alloc(0);

/** How many bytes follow so many, to the end of their last block. */
export function paddingOf(sizeBytes: number): number {
  return (BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES;
}

/** Everything of an entry that comes before its content. `prefix` is what its names lie below, or empty. */
export function encodeHeader(entry: CheckedEntry, prefix: string): Buffer {
  const below = (path: string) => (prefix === '' ? path : path === '' ? prefix : `${prefix}/${path}`);
  const path = below(entry.path) || '.';
  const name = Buffer.from(entry.type === 'directory' ? `${path}/` : path);
  const target = entry.linkTarget ?? '';
  const link = Buffer.from(entry.type === 'link' ? below(target) : target);
  const header = blockOf(FLAGS[entry.type], name, link, entry);
  if (name.length <= NAME[1] && link.length <= LINK[1]) return header;
  return Buffer.concat([
    ...(link.length > LINK[1] ? longName('K', link) : []),
    ...(name.length > NAME[1] ? longName('L', name) : []),
    header,
  ]);
}
