/**
 * Makes `dist/`, what a published package runs: Node strips no types below `node_modules`. It is laid out as this
 * directory is, with JavaScript instead of TypeScript, so every path in it is as far from its root as here. Nothing
 * that runs in a clone looks there. A finished agent goes along where a C compiler is at hand.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildAgent } from '../src/extensions/local/native/build.ts';

const ROOT = join(import.meta.dirname, '..');
const DIST = join(ROOT, 'dist');
const AGENT_SOURCES = join('src', 'extensions', 'local', 'agent');

async function addAgent(): Promise<void> {
  cpSync(join(ROOT, AGENT_SOURCES), join(DIST, AGENT_SOURCES), { recursive: true });
  try {
    const agent = await buildAgent({ cacheDir: join(ROOT, 'build') });
    const directory = join(DIST, 'prebuilt', `linux-${process.arch}`);
    mkdirSync(directory, { recursive: true });
    copyFileSync(agent, join(directory, 'sandboxer-agent'));
  } catch (error) {
    console.error('No finished agent goes along; it is built where the package is used.', error);
  }
}

rmSync(DIST, { recursive: true, force: true });
execFileSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json'], {
  cwd: ROOT,
  stdio: 'inherit',
});
cpSync(join(ROOT, 'profiles'), join(DIST, 'profiles'), { recursive: true });
const { name, version, type, license } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
writeFileSync(join(DIST, 'package.json'), `${JSON.stringify({ name, version, type, license }, null, 2)}\n`);
await addAgent();
