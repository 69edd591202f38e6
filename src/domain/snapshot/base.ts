/** When a snapshot holds only what changed since another one. */

/** Once what changed is more than this part of the whole, a new whole one is taken: the next ones are small again. */
const CHANGES_FRACTION_MAX = 1 / 4;

/** Sizes of archives in bytes; `lastChangesBytes` is that of the newest one that builds on it, null where none does. */
export function isWorthBuildingOn(wholeBytes: number, lastChangesBytes: number | null): boolean {
  return lastChangesBytes === null || lastChangesBytes <= wholeBytes * CHANGES_FRACTION_MAX;
}
