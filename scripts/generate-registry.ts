/** The text of `src/extensions/registry.gen.ts`, from the folders below `src/extensions`. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseManifest } from '../src/ports/manifest.ts';

const EXTENSIONS = join(import.meta.dirname, '..', 'src', 'extensions');
const REQUIRED_FILES = [
  'extension.ts',
  'config.ts',
  'client.ts',
  'errors.ts',
  'manifest.yaml',
  'README.md',
  'extension.test.ts',
];

/** The text of the registry. Throws when a folder lacks a file or its manifest breaks the schema. */
export function renderRegistry(directory: string = EXTENSIONS): string {
  const folders = readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(directory, entry.name, 'manifest.yaml')))
    .map((entry) => entry.name)
    .sort();
  const entries = folders.map((folder) => {
    const missing = REQUIRED_FILES.filter((file) => !existsSync(join(directory, folder, file)));
    if (missing.length > 0) throw new Error(`src/extensions/${folder} lacks ${missing.join(', ')}`);
    const file = join(directory, folder, 'manifest.yaml');
    const manifest = parseManifest(readFileSync(file, 'utf8'), `src/extensions/${folder}/manifest.yaml`);
    return `  '${manifest.id}': {\n    manifest: ${JSON.stringify(manifest)},\n    load: () => import('./${folder}/extension.ts'),\n  },`;
  });
  return [
    '// Written by scripts/generate-registry.ts from the folders here. Change those, then run `npm run generate`.',
    "import type { RegistryEntry } from '../ports/manifest.ts';",
    '',
    'export const EXTENSIONS: Readonly<Record<string, RegistryEntry>> = {',
    ...entries,
    '};',
    '',
  ].join('\n');
}
