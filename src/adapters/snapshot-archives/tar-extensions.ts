/** What stands before an entry: long names as GNU writes them, records as POSIX does. */
import { Damage } from './damage.ts';
import type { Overrides } from './tar-header.ts';

const SPACE = 0x20;
const EQUALS = 0x3d;
const NEWLINE = 0x0a;

/** `<length> <name>=<value>\n`, one after the other; a later one counts. */
function* records(content: Buffer): Generator<readonly [name: string, value: string]> {
  for (let at = 0; at < content.length; ) {
    const space = content.indexOf(SPACE, at);
    const length = space === -1 ? Number.NaN : Number(content.toString('latin1', at, space));
    const end = at + length;
    const equals = content.indexOf(EQUALS, space);
    if (!Number.isInteger(length) || end > content.length || equals < space || equals >= end)
      throw new Damage('it has a broken extension');
    if (content[end - 1] !== NEWLINE) throw new Damage('it has a broken extension');
    yield [content.toString('utf8', space + 1, equals), content.toString('utf8', equals + 1, end - 1)];
    at = end;
  }
}

function numberOf(value: string): number {
  const number = Number(value);
  if (!Number.isFinite(number)) throw new Damage('it has a broken extension');
  return number;
}

function overrideOf(name: string, value: string): Overrides {
  if (name.startsWith('GNU.sparse')) return { isSparse: true };
  if (value === '') return {};
  switch (name) {
    case 'path':
      return { name: value };
    case 'linkpath':
      return { linkTarget: value };
    case 'size':
      return { sizeBytes: numberOf(value) };
    case 'mtime':
      return { modifiedAtS: Math.floor(numberOf(value)) };
    case 'uid':
      return { userId: numberOf(value) };
    case 'gid':
      return { groupId: numberOf(value) };
    default:
      return {};
  }
}

export function readRecords(content: Buffer): Overrides {
  let all: Overrides = {};
  for (const [name, value] of records(content)) all = { ...all, ...overrideOf(name, value) };
  return all;
}

export function readLongName(content: Buffer): string {
  const end = content.indexOf(0);
  return content.toString('utf8', 0, end === -1 ? content.length : end);
}
