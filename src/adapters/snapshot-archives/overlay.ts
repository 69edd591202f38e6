/** A workspace of which an archive holds only what changed, laid over that of the whole one that it builds on. */
import { pathParts, type RawEntry } from '../../domain/snapshot/entry-rules.ts';
import { partPrefix } from '../../domain/snapshot/manifest.ts';
import { compareInTree } from '../../domain/snapshot/tree-order.ts';
import { demandOrder, Names } from './names.ts';
import type { TarReader } from './tar-reader.ts';

const PREFIX = partPrefix({ kind: 'workspace' });

/** The name of an entry in the part below `prefix`, or null when it is not of this part. */
export function nameInPart(name: string, prefix: string): string | null {
  if (name === prefix || name === `${prefix}/`) return '';
  return name.startsWith(`${prefix}/`) ? name.slice(prefix.length + 1) : null;
}

/** The workspace of one archive, whose manifest was read. */
class Layer {
  readonly tar: TarReader;
  readonly found = { entries: 0, bytes: 0 };
  #path: Buffer | null = null;
  #isSeen = false;

  constructor(tar: TarReader) {
    this.tar = tar;
  }

  /** The path of the next entry; null when it is not of the workspace, or there is none. */
  async path(): Promise<Buffer | null> {
    const entry = await this.tar.peek();
    const name = entry === null ? null : nameInPart(entry.name, PREFIX);
    if (name === null) return null;
    if (this.#isSeen) return this.#path;
    const path = Buffer.from(pathParts(name).join('/'));
    demandOrder(this.#path, path);
    this.#path = path;
    this.#isSeen = true;
    return path;
  }

  /** Once `path` answered one. */
  async take(): Promise<RawEntry | null> {
    const entry = await this.tar.take();
    this.#isSeen = false;
    this.found.entries += 1;
    this.found.bytes += entry?.sizeBytes ?? 0;
    return entry;
  }
}

/**
 * What of the base did not change, and what changed, as the entries of one tar stream; no path of it is there twice. What
 * follows the changed workspace in its archive follows here too. Rejects with a `Damage` for what is not in order.
 */
export class Overlay implements Pick<TarReader, 'peek' | 'take' | 'content'> {
  readonly #base: Layer;
  readonly #changes: Layer;
  readonly #unchanged: Names;
  /** Which has the content of the entry that was taken. */
  #taken: TarReader;

  constructor(base: TarReader, changes: TarReader, unchanged: Buffer) {
    this.#base = new Layer(base);
    this.#changes = new Layer(changes);
    this.#unchanged = new Names(unchanged);
    this.#taken = changes;
  }

  /** Of what changed, as far as it was taken. */
  get found(): { readonly entries: number; readonly bytes: number } {
    return this.#changes.found;
  }

  async peek(): Promise<RawEntry | null> {
    return (await this.#next()).tar.peek();
  }

  async take(): Promise<RawEntry | null> {
    const layer = await this.#next();
    this.#taken = layer.tar;
    return layer.take();
  }

  content(): Promise<Buffer | null> {
    return this.#taken.content();
  }

  async #next(): Promise<Layer> {
    const changed = await this.#changes.path();
    for (let kept = await this.#base.path(); kept !== null; kept = await this.#base.path()) {
      const order = changed === null ? -1 : compareInTree(kept, changed);
      if (order > 0) return this.#changes;
      if (order < 0 && this.#unchanged.has(kept)) return this.#base;
      await this.#base.take();
    }
    if (changed === null) this.#unchanged.finish();
    return this.#changes;
  }
}
