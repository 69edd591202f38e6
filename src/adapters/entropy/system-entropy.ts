import { randomBytes } from 'node:crypto';
import type { Entropy } from '../../ports/entropy.ts';

export const SYSTEM_ENTROPY: Entropy = { bytes: (count) => randomBytes(count) };
