import type { Row } from '../kit/row.ts';
import { g1, g2 } from './g02-create.ts';
import { g4 } from './g04-rate.ts';
import { g6 } from './g06-destroy.ts';
import { g8 } from './g08-exec.ts';
import { g11 } from './g11-stdout.ts';
import { g12 } from './g12-files.ts';
import { g13 } from './g13-broker.ts';
import { g20, g22 } from './g20-reaper.ts';
import { g21 } from './g21-list.ts';
import { g25 } from './g25-start.ts';
import { g26 } from './g26-restore.ts';
import { g27 } from './g27-snapshot.ts';
import { h1, h2 } from './h1-hosts.ts';

export const ROWS: readonly Row[] = [g1, g2, g4, g6, g8, g11, g12, g13, g20, g21, g22, g25, g26, g27, h1, h2];
