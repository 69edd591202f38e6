import { describe, expect, it } from 'vitest';
import { eachDone, release } from '../../src/domain/streams.ts';

describe('pieces that nobody looks at any more', () => {
  it('are told one by one, each once the next is asked for, and none that was never answered', async () => {
    const seen: string[] = [];
    const source = (async function* () {
      for (const piece of ['a', 'b', 'c']) {
        seen.push(`asked for ${piece}`);
        yield piece;
      }
    })();
    for await (const piece of eachDone(source, (done) => seen.push(`done with ${done}`))) {
      seen.push(`looks at ${piece}`);
      if (piece === 'b') break;
    }
    expect(seen).toEqual(['asked for a', 'looks at a', 'done with a', 'asked for b', 'looks at b']);
  });

  it('give their memory back, and leave alone what others may look at', () => {
    const large = Buffer.allocUnsafeSlow(Buffer.poolSize + 1).subarray(0, 10);
    release(large);
    const whole = new Uint8Array(10);
    release(whole);
    expect([large.length, whole.length]).toEqual([0, 0]);
    const pool = Buffer.allocUnsafeSlow(Buffer.poolSize);
    const part = Buffer.allocUnsafeSlow(Buffer.poolSize + 1);
    for (const shared of [pool.subarray(0, 10), part.subarray(1), Buffer.from('text')]) {
      const before = Buffer.from(shared);
      release(shared);
      expect(shared.equals(before)).toBe(true);
    }
    expect([pool.length, part.length]).toEqual([Buffer.poolSize, Buffer.poolSize + 1]);
    const betweenThreads = new Uint8Array(new SharedArrayBuffer(16));
    release(betweenThreads);
    expect(betweenThreads.length).toBe(16);
  });
});
