/** A stream of bytes that says of itself how it ended. */

/** Of what follows the mark. */
const LINE_BYTES_MAX = 16;

/**
 * Answers what comes before `mark`, and returns the rest of the line that follows it, or null where the source ends without. A mark of
 * random bytes is in no content that was there before it was made.
 */
export async function* untilMark(
  source: AsyncIterable<Buffer>,
  mark: Buffer,
): AsyncGenerator<Buffer, string | null> {
  let held: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    const bytes = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    const from = bytes.indexOf(mark[0]!, Math.max(0, bytes.length - mark.length - LINE_BYTES_MAX));
    if (from === -1) {
      held = Buffer.alloc(0);
      yield bytes;
      continue;
    }
    held = Buffer.from(bytes.subarray(from));
    const at = held.indexOf(mark);
    const end = at === -1 ? -1 : held.indexOf('\n', at);
    const contentBytes = end === -1 ? from : from + at;
    if (contentBytes > 0) yield bytes.subarray(0, contentBytes);
    if (end !== -1) return held.toString('latin1', at + mark.length, end);
  }
  if (held.length > 0) yield held;
  return null;
}
