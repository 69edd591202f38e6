import { z } from 'zod';
import { LIMITS } from '../domain/limits.ts';

/** What every list takes that is given a page at a time, newest first. */
export const PAGE_FIELDS = {
  cursor: z
    .string()
    .regex(/^[0-9]{1,15}$/, 'not a cursor of this list')
    .optional()
    .describe('Where the last page ended'),
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(LIMITS.pageSizeMax)
    .default(LIMITS.pageSizeDefault)
    .describe('Page size'),
};

const COMMA = Buffer.from(',');

/** A page as JSON in UTF-8, of items that are that already. */
export function pageJson(items: readonly Uint8Array[], nextCursor: string | null): Uint8Array {
  const between = items.flatMap((item, index) => (index === 0 ? [item] : [COMMA, item]));
  const end = Buffer.from(`],"next_cursor":${JSON.stringify(nextCursor)}}`);
  return Buffer.concat([Buffer.from('{"items":['), ...between, end]);
}
