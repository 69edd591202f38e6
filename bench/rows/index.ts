import type { Row } from '../kit/row.ts';
import { g1, g2 } from './g02-create.ts';

export const ROWS: readonly Row[] = [g1, g2];
