/** Writes everything that is derived from the tables; with `--check` only says what is out of date. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { renderCommands } from './generate-commands.ts';
import { renderReference } from './generate-reference.ts';
import { renderRegistry } from './generate-registry.ts';
import { renderRoutes } from './generate-routes.ts';

const ROOT = join(import.meta.dirname, '..');

/** File below the root → what it must hold. */
function render(): Readonly<Record<string, string>> {
  return {
    'src/extensions/registry.gen.ts': renderRegistry(),
    'src/faces/cli/commands.gen.ts': renderCommands(),
    'src/faces/library/routes.gen.ts': renderRoutes(),
    ...renderReference(),
  };
}

/** The files that are out of date; with `write` they are brought up to date. */
export function generateAll(write: boolean): string[] {
  const stale = Object.entries(render()).filter(([file, text]) => {
    const path = join(ROOT, file);
    return !existsSync(path) || readFileSync(path, 'utf8') !== text;
  });
  for (const [file, text] of write ? stale : []) {
    mkdirSync(dirname(join(ROOT, file)), { recursive: true });
    writeFileSync(join(ROOT, file), text);
  }
  return stale.map(([file]) => file);
}

if (import.meta.main) {
  const check = process.argv.includes('--check');
  const stale = generateAll(!check);
  if (check && stale.length > 0) {
    process.stderr.write(`out of date, run \`npm run generate\`: ${stale.join(', ')}\n`);
    process.exitCode = 1;
  }
}
