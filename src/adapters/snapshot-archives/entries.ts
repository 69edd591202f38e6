/** Between tar-stream's entries and ours. */
import { type Extract, type Pack, pack } from 'tar-stream';
import type { CheckedEntry, RawEntry } from '../../domain/snapshot/entry-rules.ts';

/** What an octal field of six digits holds; more goes into an extension. */
const ID_IN_HEADER_MAX = 0o777777;

export type TarEntry = Extract extends AsyncIterable<infer Entry> ? Entry : never;
type Header = Parameters<Pack['entry']>[0];

export function rawEntry({ header }: TarEntry): RawEntry {
  const pax = (header.pax ?? {}) as Readonly<Record<string, string>>;
  return {
    name: header.name,
    type: header.type,
    sizeBytes: header.size ?? 0,
    modeBits: header.mode ?? 0,
    modifiedAtS: Math.floor((header.mtime?.getTime() ?? 0) / 1_000),
    userId: Number(pax.uid ?? header.uid ?? 0),
    groupId: Number(pax.gid ?? header.gid ?? 0),
    linkTarget: header.linkname ?? null,
    extensions: pax,
  };
}

function ids(entry: CheckedEntry): Pick<Header, 'uid' | 'gid' | 'pax'> {
  const { userId, groupId } = entry;
  if (userId <= ID_IN_HEADER_MAX && groupId <= ID_IN_HEADER_MAX) return { uid: userId, gid: groupId };
  return { uid: 0, gid: 0, pax: { uid: String(userId), gid: String(groupId) } };
}

/** A mode of 0 would become the usual one: nobody's file stays its owner's only. */
function headerOf(entry: CheckedEntry, prefix: string): Header {
  const name = [prefix, entry.path].filter((part) => part !== '').join('/') || '.';
  const target =
    entry.type === 'link' ? [prefix, entry.linkTarget].filter(Boolean).join('/') : entry.linkTarget;
  return {
    ...ids(entry),
    name: entry.type === 'directory' ? `${name}/` : name,
    type: entry.type,
    size: entry.sizeBytes,
    mode: entry.modeBits === 0 ? 0o600 : entry.modeBits,
    mtime: new Date(entry.modifiedAtS * 1_000),
    ...(target === null ? {} : { linkname: target }),
  };
}

/** Resolves once the entry is in the archive; `content` is read to its end. */
export function putEntry(
  archive: Pack,
  entry: CheckedEntry,
  prefix: string,
  content: TarEntry,
): Promise<void> {
  const header = headerOf(entry, prefix);
  if (entry.type !== 'file' || entry.sizeBytes === 0) {
    content.resume();
    return putText(archive, header, '');
  }
  return new Promise((resolve, reject) => {
    const sink = archive.entry(header, (error?: Error | null) => (error ? reject(error) : resolve()));
    sink.once('error', reject);
    content.once('error', (error) => sink.destroy(error));
    content.pipe(sink);
  });
}

export function putText(archive: Pack, header: Header, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const sink = archive.entry(header, text, (error) => (error ? reject(error) : resolve()));
    sink.once('error', reject);
  });
}

/** What goes wrong with it is told by reading it, or by putting something into it. */
export function newArchive(): Pack {
  const archive = pack();
  archive.on('error', () => undefined);
  return archive;
}

/** Each piece is a task of its own for the thread that compresses. */
export const PIECE_BYTES = 256 * 1024;

/** The same bytes in fewer pieces. */
export async function* inPieces(
  source: AsyncIterable<Uint8Array>,
  pieceBytes: number,
): AsyncGenerator<Uint8Array> {
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  for await (const chunk of source) {
    held.push(chunk);
    heldBytes += chunk.length;
    if (heldBytes < pieceBytes) continue;
    yield Buffer.concat(held, heldBytes);
    held = [];
    heldBytes = 0;
  }
  if (heldBytes > 0) yield Buffer.concat(held, heldBytes);
}

export async function* bytesOf(archive: Pack): AsyncGenerator<Uint8Array> {
  yield* archive as AsyncIterable<Uint8Array>;
}

/** The entries of an archive one by one, where one may be looked at and left for later. */
export class EntryQueue {
  readonly #entries: AsyncIterator<TarEntry>;
  #held: TarEntry | null = null;

  constructor(archive: Extract) {
    this.#entries = (archive as AsyncIterable<TarEntry>)[Symbol.asyncIterator]();
  }

  async peek(): Promise<TarEntry | null> {
    if (this.#held === null) {
      const next = await this.#entries.next();
      this.#held = next.done ? null : next.value;
    }
    return this.#held;
  }

  /** The content of what is taken must be read to its end. */
  async take(): Promise<TarEntry | null> {
    const entry = await this.peek();
    this.#held = null;
    return entry;
  }
}
