/** The rules of `.gitignore` files along a way down a tree. */
import { posix } from 'node:path';
import ignore, { type Ignore } from 'ignore';

export interface IgnoreRules {
  /** Where the file with the rules lies, relative to the top of the tree. */
  readonly directory: string;
  readonly matcher: Ignore;
}

export function parseIgnoreRules(directory: string, text: string): IgnoreRules {
  return { directory, matcher: ignore().add(text) };
}

/** Rules further down win over those above. */
export function isIgnored(rules: readonly IgnoreRules[], path: string, isDirectory: boolean): boolean {
  let ignored = false;
  for (const { directory, matcher } of rules) {
    const verdict = matcher.test(posix.relative(directory, path) + (isDirectory ? '/' : ''));
    if (verdict.ignored) ignored = true;
    else if (verdict.unignored) ignored = false;
  }
  return ignored;
}
