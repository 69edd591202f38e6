/** What follows the content of a stream is told apart from it, however both come. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { untilMark } from '../../src/extensions/compose-ssh/marked-stream.ts';

const MARK = Buffer.from('\x1e0123456789abcdef');

async function read(chunks: readonly Uint8Array[]): Promise<{ content: Buffer; line: string | null }> {
  async function* source() {
    for (const chunk of chunks) yield Buffer.from(chunk);
  }
  const stream = untilMark(source(), MARK);
  const pieces: Buffer[] = [];
  for (;;) {
    const { done, value } = await stream.next();
    if (done) return { content: Buffer.concat(pieces), line: value };
    pieces.push(Buffer.from(value));
  }
}

/** Bytes among which the beginnings of a mark are. */
const piece = fc.oneof(
  fc.uint8Array({ maxLength: 100 }),
  fc.nat(MARK.length - 1).map((length) => new Uint8Array(MARK.subarray(0, length))),
);
const content = fc.array(piece, { maxLength: 8 }).map((pieces) => Buffer.concat(pieces));

function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  let at = 0;
  for (const size of sizes) {
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return [...chunks, bytes.subarray(at)];
}

it('answers all before the mark and what is said after it, however it is cut (property)', async () => {
  await fc.assert(
    fc.asyncProperty(content, fc.array(fc.nat(60)), fc.nat(255), async (before, sizes, code) => {
      fc.pre(!before.includes(MARK));
      const all = Buffer.concat([before, MARK, Buffer.from(` ${code}\n`)]);
      expect(await read(cut(all, sizes))).toEqual({ content: before, line: ` ${code}` });
    }),
    { numRuns: 500 },
  );
});

it('says that there was none, and answers all there was (property)', async () => {
  await fc.assert(
    fc.asyncProperty(content, fc.array(fc.nat(60)), async (before, sizes) => {
      fc.pre(!before.includes(MARK));
      const brokenOff = Buffer.concat([before, MARK.subarray(0, 5)]);
      expect(await read(cut(brokenOff, sizes))).toEqual({ content: brokenOff, line: null });
    }),
    { numRuns: 300 },
  );
});
