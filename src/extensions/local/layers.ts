/**
 * Content of snapshots that several sandboxes begin with: unpacked once, never changed, and laid below what each of them
 * writes. Kept for one boot only, since after a loss of power nobody could tell whether all of it had reached the disk.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, renameSync } from 'node:fs';
import { mkdir, readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { isSnapshotId } from '../../domain/snapshot/manifest.ts';
import { LAYER_PATH_FORBIDS } from './native/box-plan.ts';
import { removeTree } from './remove.ts';

const DRAFT = 'draft-';
const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id';

export class Layers {
  readonly #directory: string;
  readonly #filling = new Map<string, Promise<string>>();
  #draftsRemoved: Promise<void> | null = null;
  #refusal: string | null;

  constructor(directory: string, isRoot: boolean) {
    this.#directory = directory;
    if (!isRoot) this.#refusal = 'it takes the rights of root';
    else this.#refusal = LAYER_PATH_FORBIDS.test(directory) ? `the path ${directory} has : or , in it` : null;
  }

  /** Why sandboxes get a copy of their own instead, or null. */
  get refusal(): string | null {
    return this.#refusal;
  }

  /** From now on every sandbox gets a copy of its own. */
  refuse(reason: string): void {
    this.#refusal = reason;
  }

  /**
   * The directory with the content of `id`. Where it is missing `fill` is called with an empty one, and it counts once that
   * resolved. Whoever asks first fills it for all; the others try in turn when that fails. Rejects with the signal's reason
   * where it aborts while another fills it.
   */
  async prepare(
    id: string,
    fill: (directory: string) => Promise<void>,
    signal: AbortSignal,
  ): Promise<string> {
    for (;;) {
      const filling = this.#filling.get(id);
      if (filling === undefined) break;
      await endOf(filling, signal);
    }
    const filled = this.#fill(id, fill);
    this.#filling.set(id, filled);
    try {
      return await filled;
    } finally {
      this.#filling.delete(id);
    }
  }

  /** Removes what is of an earlier boot, and every content that `isNeeded` denies. Safe to repeat. */
  async tidy(isNeeded: (id: string) => Promise<boolean>): Promise<void> {
    const current = await this.#bootDirectory();
    for (const boot of await namesIn(this.#directory))
      if (join(this.#directory, boot) !== current) await removeTree(join(this.#directory, boot));
    for (const id of await namesIn(current))
      if (!this.#isBeingFilled(id) && !(await isNeeded(id))) await this.#remove(current, id);
  }

  /** Out of sight at once: what is removed bit by bit must not be taken for the whole. */
  async #remove(boot: string, name: string): Promise<void> {
    const ready = join(boot, name);
    if (!existsSync(ready)) return;
    const draft = join(boot, `${DRAFT}${randomUUID()}`);
    renameSync(ready, draft);
    await removeTree(draft);
  }

  #isBeingFilled(name: string): boolean {
    return name.startsWith(DRAFT) ? this.#filling.size > 0 : this.#filling.has(name);
  }

  async #fill(id: string, fill: (directory: string) => Promise<void>): Promise<string> {
    if (!isSnapshotId(id)) throw new TypeError('not the id of a snapshot');
    const boot = await this.#bootDirectory();
    const ready = join(boot, id);
    if (existsSync(ready)) return ready;
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    this.#draftsRemoved ??= this.#removeDrafts(boot);
    await this.#draftsRemoved;
    const draft = join(boot, `${DRAFT}${randomUUID()}`);
    await mkdir(draft, { recursive: true, mode: 0o755 });
    try {
      await fill(draft);
      await rename(draft, ready);
      return ready;
    } catch (error) {
      await removeTree(draft);
      throw error;
    }
  }

  /** Of processes that ended in the middle: one alone works on a home. */
  async #removeDrafts(boot: string): Promise<void> {
    for (const name of await namesIn(boot)) if (name.startsWith(DRAFT)) await removeTree(join(boot, name));
  }

  async #bootDirectory(): Promise<string> {
    return join(this.#directory, (await readFile(BOOT_ID_FILE, 'utf8')).trim());
  }
}

async function namesIn(directory: string): Promise<readonly string[]> {
  return existsSync(directory) ? readdir(directory) : [];
}

/** Resolves however it ends, which is told to whoever filled it. */
function endOf(filling: Promise<unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    const end = () => {
      signal.removeEventListener('abort', abort);
      resolve();
    };
    if (signal.aborted) return abort();
    signal.addEventListener('abort', abort, { once: true });
    filling.then(end, end);
  });
}
