import { randomBytes } from 'node:crypto';
import type { Entropy } from '../../ports/entropy.ts';

const POOL_BYTES = 4096;
let pool = Buffer.alloc(0);

/** Random bytes, each given out once. Small amounts come from a pool: asking the system costs as much for many as for few. */
function bytes(count: number): Uint8Array {
  if (count > POOL_BYTES / 16) return randomBytes(count);
  if (pool.length < count) pool = randomBytes(POOL_BYTES);
  const taken = pool.subarray(0, count);
  pool = pool.subarray(count);
  const given = new Uint8Array(taken);
  taken.fill(0);
  return given;
}

export const SYSTEM_ENTROPY: Entropy = { bytes };
