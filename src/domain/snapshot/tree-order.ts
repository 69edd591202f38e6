/**
 * The order in which `tar --sort=name` goes through a tree: names byte by byte, with `/` before all that a name can hold, so
 * that what lies in a directory follows it without a gap. Two archives in this order can be laid over each other as they come.
 */
const SLASH = 0x2f;

/** Of relative paths; negative where the left one comes first. */
export function compareInTree(left: Uint8Array, right: Uint8Array): number {
  const shared = Math.min(left.length, right.length);
  for (let index = 0; index < shared; index += 1) {
    const [before, after] = [left[index]!, right[index]!];
    if (before !== after) return (before === SLASH ? 0 : before) - (after === SLASH ? 0 : after);
  }
  return left.length - right.length;
}
