import { statSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SandboxerError } from '../../domain/errors.ts';
import { LIMITS } from '../../domain/limits.ts';
import { nearestName, printable } from '../../domain/text.ts';
import type { BrokenProfile, ProfileEntry, ProfileSource } from '../../ports/profile-source.ts';
import { type Parsed, parseProfile } from './parse.ts';

const PROFILE_FILE = /^profile\.[a-z0-9-]+\.ya?ml$/;

interface Cached {
  readonly stamp: string;
  readonly parsed: Parsed;
}

function invalidProfile(problems: readonly string[]): SandboxerError {
  return new SandboxerError('invalid_profile', problems.join('\n'), {
    nextStep:
      'Mend the file; the shape is in docs/reference/profile.md, and editors read docs/reference/profile.schema.json.',
  });
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}

/**
 * Profiles from directories, later ones winning over earlier ones. Files are read again when they change, so a
 * new one works at once.
 */
export class YamlProfileSource implements ProfileSource {
  readonly #directories: readonly string[];
  readonly #cache = new Map<string, Cached>();

  constructor(directories: readonly string[]) {
    this.#directories = directories;
  }

  async list(): Promise<{ entries: ProfileEntry[]; broken: BrokenProfile[] }> {
    const entries = new Map<string, ProfileEntry>();
    const broken: BrokenProfile[] = [];
    for (const file of await this.#files()) {
      const parsed = await this.#read(file);
      if (parsed === null) continue;
      if (parsed.ok) entries.set(parsed.profile.id, { profile: parsed.profile, file });
      else broken.push({ file, problems: parsed.problems });
    }
    return { entries: [...entries.values()], broken };
  }

  async get(id: string): Promise<ProfileEntry> {
    const named = await this.#byFileName(id);
    if (named !== null) return named;
    const { entries, broken } = await this.list();
    const found = entries.find(({ profile }) => profile.id === id);
    if (found !== undefined) return found;
    const ownFile = broken.find(({ file }) => file.includes(`/${id}.y`));
    if (ownFile !== undefined) throw invalidProfile(ownFile.problems);
    const known = entries.map(({ profile }) => profile.id);
    const nearest = nearestName(id, known);
    throw new SandboxerError('unknown_profile', `There is no profile "${printable(id, 80)}".`, {
      nextStep: nearest === null ? `There are ${known.join(', ')}.` : `Did you mean ${nearest}?`,
    });
  }

  async validate(file: string): Promise<ProfileEntry> {
    const parsed = await this.#read(file);
    if (parsed === null) throw new SandboxerError('invalid_profile', `${file} does not exist.`);
    if (!parsed.ok) throw invalidProfile(parsed.problems);
    return { profile: parsed.profile, file };
  }

  /** The usual case, `profile.<slug>.yaml` holding that id, without reading every other file. */
  async #byFileName(id: string): Promise<ProfileEntry | null> {
    if (!PROFILE_FILE.test(`${id}.yaml`)) return null;
    for (const directory of this.#directories.toReversed()) {
      const file = join(directory, `${id}.yaml`);
      const parsed = await this.#read(file);
      if (parsed?.ok && parsed.profile.id === id) return { profile: parsed.profile, file };
    }
    return null;
  }

  async #files(): Promise<string[]> {
    const files: string[] = [];
    for (const directory of this.#directories) {
      try {
        const names = (await readdir(directory)).filter((name) => PROFILE_FILE.test(name)).sort();
        files.push(...names.map((name) => join(directory, name)));
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
    }
    return files.slice(0, LIMITS.profileCount);
  }

  /** Null when there is no such file. */
  async #read(file: string): Promise<Parsed | null> {
    try {
      const status = statSync(file, { throwIfNoEntry: false });
      if (status === undefined) return null;
      const { mtimeMs, size, ino } = status;
      const stamp = `${mtimeMs}/${size}/${ino}`;
      const cached = this.#cache.get(file);
      if (cached?.stamp === stamp) return cached.parsed;
      const text =
        size > LIMITS.profileFileBytes
          ? ' '.repeat(LIMITS.profileFileBytes + 1)
          : await readFile(file, 'utf8');
      const parsed = parseProfile(file, text);
      this.#cache.set(file, { stamp, parsed });
      return parsed;
    } catch (error) {
      if (isMissing(error)) return null;
      const reason = error instanceof Error ? error.message : String(error);
      return { ok: false, problems: [`${file}:1:1 cannot be read: ${reason}`] };
    }
  }
}
