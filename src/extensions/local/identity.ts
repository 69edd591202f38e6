import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Entropy } from '../../ports/entropy.ts';
import { ExtensionError } from '../../ports/extension.ts';

/** Ids below this belong to people and services; above, each slot is a range that no account has. */
const FIRST_ID = 0x4000_0000;
const RANGE = 65_536;
const SLOTS = 40_000;
const TRIES = 200;

/** Gives each sandbox a range of user ids of its own, so that root inside is nobody outside, and no two meet. */
export class IdentitySlots {
  readonly #directory: string;
  readonly #entropy: Entropy;

  constructor(directory: string, entropy: Entropy) {
    this.#directory = directory;
    this.#entropy = entropy;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /** Takes a free slot for `name`; the file that marks it is made exclusively. */
  take(name: string): number {
    for (let attempt = 0; attempt < TRIES; attempt += 1) {
      const slot = Buffer.from(this.#entropy.bytes(4)).readUInt32LE() % SLOTS;
      try {
        writeFileSync(join(this.#directory, String(slot)), name, { flag: 'wx', mode: 0o600 });
        return slot;
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
      }
    }
    throw new ExtensionError('capacity', 'No free range of user ids was found.');
  }

  release(slot: number): void {
    rmSync(join(this.#directory, String(slot)), { force: true });
  }

  /** Frees slots whose sandbox is gone, as a crash between two files may leave them. */
  releaseAbandoned(isPresent: (name: string) => boolean): void {
    for (const slot of readdirSync(this.#directory)) {
      const path = join(this.#directory, slot);
      if (!isPresent(readFileSync(path, 'utf8'))) rmSync(path, { force: true });
    }
  }
}

/** The first id of a slot's range: what uid 0 inside is outside. */
export function firstId(slot: number): number {
  return FIRST_ID + slot * RANGE;
}

/** The ordinary user inside, outside. */
export const USER_ID_INSIDE = 1_000;
