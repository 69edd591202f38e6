import { type Profile, profileSchema } from '../../domain/profile/profile.ts';
import { parseYaml } from '../yaml/parse.ts';

export type Parsed =
  | { readonly ok: true; readonly profile: Profile }
  | { readonly ok: false; readonly problems: readonly string[] };

/** Reads one profile; bounded before it is parsed, and every problem says file, line, column and reason. */
export function parseProfile(file: string, text: string): Parsed {
  const parsed = parseYaml(file, text, { schema: profileSchema, name: 'profile' });
  return parsed.ok ? { ok: true, profile: parsed.value } : parsed;
}
