import type { Profile } from '../domain/profile/profile.ts';

export interface ProfileEntry {
  readonly profile: Profile;
  readonly file: string;
}

/** A file that was refused; `problems` are sentences that begin with `file:line:column`. */
export interface BrokenProfile {
  readonly file: string;
  readonly problems: readonly string[];
}

export interface ProfileSource {
  list(): Promise<{ readonly entries: readonly ProfileEntry[]; readonly broken: readonly BrokenProfile[] }>;
  /** Rejects with `unknown_profile` (naming the nearest), or `invalid_profile` when its file is broken. */
  get(id: string): Promise<ProfileEntry>;
  /** Reads one file, wherever it is; rejects with `invalid_profile`. */
  validate(file: string): Promise<ProfileEntry>;
}
