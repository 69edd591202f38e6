/** Writes everything that is derived from the tables; with `--check` only says what is out of date. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { generateCommands } from './generate-commands.ts';
import { renderReference } from './generate-reference.ts';
import { generateRegistry } from './generate-registry.ts';

const ROOT = join(import.meta.dirname, '..');

/** The files that are out of date; with `write` they are brought up to date. */
export function generateAll(write: boolean): string[] {
  const stale: string[] = [];
  if (!generateRegistry(!write)) stale.push('src/extensions/registry.gen.ts');
  if (!generateCommands(!write)) stale.push('src/faces/cli/commands.gen.ts');
  for (const [file, text] of Object.entries(renderReference())) {
    const path = join(ROOT, file);
    if (existsSync(path) && readFileSync(path, 'utf8') === text) continue;
    stale.push(file);
    if (!write) continue;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  return stale;
}

const check = process.argv.includes('--check');
const stale = generateAll(!check);
if (check && stale.length > 0) {
  process.stderr.write(`out of date, run \`npm run generate\`: ${stale.join(', ')}\n`);
  process.exitCode = 1;
}
