/** What a container says about files and ports. */
import type { FileEntry } from '../../ports/extension.ts';

/** Mode, size, time and name of each entry, ended by a NUL; works with GNU and with busybox. */
export const LIST_DIRECTORY = `
cd -- "$1" || exit 1
for entry in * .[!.]* ..?*; do
  [ -e "$entry" ] || [ -L "$entry" ] || continue
  stat -c '%f %s %Y' -- "$entry" | tr -d '\\n'
  printf ' %s\\0' "$entry"
done
`;

const TYPE_MASK = 0o170000;
const TYPES: ReadonlyMap<number, FileEntry['type']> = new Map([
  [0o100000, 'file'],
  [0o040000, 'directory'],
  [0o120000, 'symlink'],
]);

export function entryOfListing(line: string): FileEntry {
  const [mode = '0', size = '0', seconds = '0'] = line.split(' ', 3);
  const name = line.slice(mode.length + size.length + seconds.length + 3);
  const bits = Number.parseInt(mode, 16);
  return {
    name,
    type: TYPES.get(bits & TYPE_MASK) ?? 'other',
    sizeBytes: Number(size),
    modeBits: bits & 0o7777,
    modifiedAtMs: Number(seconds) * 1_000,
  };
}

/** Bits of Go's os.FileMode, which is what the engine speaks. */
const GO_DIRECTORY = 0x8000_0000;
const GO_LINK = 0x0800_0000;
const GO_OTHER = 0x0660_0000;

/** From the engine's header: base64 of JSON. */
export function entryOfStat(name: string, header: string): FileEntry {
  const stat = JSON.parse(Buffer.from(header, 'base64').toString('utf8')) as {
    size: number;
    mode: number;
    mtime: string;
  };
  const has = (bit: number) => Math.floor(stat.mode / bit) % 2 === 1;
  const type = has(GO_DIRECTORY)
    ? 'directory'
    : has(GO_LINK)
      ? 'symlink'
      : (stat.mode & GO_OTHER) !== 0
        ? 'other'
        : 'file';
  return {
    name,
    type,
    sizeBytes: stat.size,
    modeBits: stat.mode & 0o777,
    modifiedAtMs: Date.parse(stat.mtime) || 0,
  };
}

const LISTENING = '0A';
const LOOPBACK = /^(0100007F|00000000000000000000000001000000)$/;

/** From the text of /proc/net/tcp and tcp6. */
export function listenerOf(text: string, port: number): 'any' | 'loopback' | 'none' {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  const addresses = text
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , state]) => state === LISTENING && local?.endsWith(`:${wanted}`))
    .map(([, local = '']) => local.split(':')[0]!);
  if (addresses.length === 0) return 'none';
  return addresses.every((address) => LOOPBACK.test(address)) ? 'loopback' : 'any';
}
