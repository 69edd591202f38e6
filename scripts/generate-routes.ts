/** The text of `src/faces/library/routes.gen.ts`, from the operation table. */
import { OPERATIONS, type OperationName } from '../src/operations/table.ts';

export function renderRoutes(): string {
  const names = Object.keys(OPERATIONS) as OperationName[];
  const entries = names.map((name) => {
    const { http, keyed } = OPERATIONS[name];
    return `  ${name}: ${JSON.stringify({ method: http.method, path: http.path, keyed })},`;
  });
  return [
    '// Written by scripts/generate-routes.ts from the operation table. Change that, then run `npm run generate`.',
    "import type { OperationName } from '../../operations/table.ts';",
    "import type { Route } from './transport.ts';",
    '',
    '/** What a client needs to know of the operations; the table itself would load all that they are made of. */',
    'export const ROUTES: Readonly<Record<OperationName, Route>> = {',
    ...entries,
    '};',
    '',
  ].join('\n');
}
