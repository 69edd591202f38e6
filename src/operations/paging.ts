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
