/** What `npm pack` gives runs where it is installed: below `node_modules` of another project, with Node alone. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeRepository } from '../lab/stacks.ts';
import { openComposeHome } from '../standins/compose-home.ts';
import { destroyAll } from '../standins/destroy-all.ts';
import { installPacked, type PackedProject } from '../standins/packed.ts';
import { temporaryDirectory } from '../standins/simulated-harness.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const PATIENCE_MS = 120_000;
const run = promisify(execFile);
let project: PackedProject;
const home = temporaryDirectory();
const environment = () => ({ PATH: process.env.PATH, HOME: home, SANDBOXER_HOME: home });

beforeAll(() => {
  project = installPacked(['@types/node']);
}, PATIENCE_MS);
afterAll(async () => {
  await destroyAll(home, {});
  project.remove();
});

const command = (...words: string[]) =>
  run(project.command, words, { cwd: project.directory, env: environment(), timeout: PATIENCE_MS });

async function script(text: string): Promise<string> {
  const path = join(project.directory, 'script.mjs');
  writeFileSync(path, text);
  return (await run(process.execPath, [path], { env: environment(), timeout: PATIENCE_MS })).stdout;
}

describe('the packed package', () => {
  it('holds what it runs and says, and nothing else', () => {
    const top = new Set(project.files.map((path) => path.split('/')[0]));
    expect([...top].sort()).toEqual(
      [
        'CHANGELOG.md',
        'README.md',
        'SECURITY.md',
        'SPECIFICATION.md',
        'dist',
        'integrations',
        'package.json',
        'sandboxer',
      ].sort(),
    );
    expect(project.files.filter((path) => /\.test\.|(?<!\.d)\.ts$/.test(path))).toEqual([]);
    expect(project.files).toContain('dist/src/extensions/local/agent/main.c');
    expect(project.files).toContain('dist/profiles/profile.local.yaml');
  });

  it(
    'tells its version',
    async () => {
      const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
      expect((await command('version')).stdout).toContain(version);
    },
    PATIENCE_MS,
  );

  it(
    'establishes a sandbox of this machine, runs a command in it, and takes it down',
    async () => {
      const created = JSON.parse((await command('create', '--profile', 'profile.local', '--json')).stdout);
      expect(created).toMatchObject({ state: 'ready', extension_id: 'ext.local' });
      const id = created.sandbox_id as string;
      expect((await command('exec', id, '--', 'echo', 'from inside')).stdout).toBe('from inside\n');
      expect(JSON.parse((await command('destroy', id, '--json')).stdout).state).toBe('destroyed');
    },
    PATIENCE_MS,
  );

  it.runIf(process.getuid?.() === 0)(
    'is what wise-validator tests a repository with, on a host over SSH',
    async () => {
      const place = await openComposeHome(1);
      const repository = temporaryDirectory();
      try {
        const manifest = { health_checks: [{ service: 'web', port: 8080, path: '/' }] };
        writeRepository(repository, 'webAndData', { manifest });
        const program = join(ROOT, 'test/standins/wise-validator.ts');
        const variables = { ...place.variables, SANDBOXER_BIN: project.command, SANDBOXER_HOST: 'host1' };
        const { stdout } = await run(process.execPath, [program, '--repo', repository], { env: variables });
        expect(stdout).toContain('lab: passed in ');
        expect(await place.lab.hosts[0]!.composeProjects()).toEqual([]);
      } finally {
        await destroyAll(place.home, place.variables);
        await place.lab.stop();
        rmSync(place.home, { recursive: true, force: true });
      }
    },
    PATIENCE_MS,
  );

  it(
    'is a library',
    async () => {
      const text = `import { Sandboxer } from 'sand-boxer';
        import { describeConformance } from 'sand-boxer/extension';
        const sandboxer = await Sandboxer.connect();
        const sandbox = await sandboxer.create({ profile: 'profile.simulated' });
        const { state } = await sandbox.destroy();
        await sandboxer.close();
        console.log(state, typeof describeConformance);`;
      expect(await script(text)).toBe('destroyed function\n');
    },
    PATIENCE_MS,
  );

  it(
    'has types that a strict project compiles against',
    () => {
      writeFileSync(
        join(project.directory, 'uses.mts'),
        `import { type Sandbox, Sandboxer } from 'sand-boxer';
         import type { Extension } from 'sand-boxer/extension';
         export async function make(): Promise<Sandbox> {
           const sandboxer = await Sandboxer.connect();
           // @ts-expect-error: there is no such field
           await sandboxer.create({ profil: 'x' });
           return sandboxer.create({ profile: 'profile.local', ttl: '30m' });
         }
         export const idOf = (extension: Extension): string => extension.id;`,
      );
      const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
      const words = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2024', '--types', 'node'];
      const cwd = project.directory;
      execFileSync(process.execPath, [compiler, ...words, 'uses.mts'], { cwd, stdio: 'inherit' });
    },
    PATIENCE_MS,
  );

  it(
    'runs with the Node that came along, or with one on PATH, and says which it needs',
    async () => {
      const modules = join(project.directory, 'node_modules');
      const bin = join(project.directory, 'bin');
      const carried = join(modules, `node-linux-${process.arch}`);
      mkdirSync(bin);
      for (const tool of ['sh', 'uname', 'dirname', 'readlink'])
        symlinkSync(execFileSync('which', [tool], { encoding: 'utf8' }).trim(), join(bin, tool));
      const version = () => run(project.command, ['version'], { env: { PATH: bin, HOME: home } });
      const refusal = { stderr: expect.stringContaining('Node 24 or later') };
      expect((await version()).stdout).not.toBe('');
      rmSync(carried);
      try {
        await expect(version()).rejects.toMatchObject(refusal);
        writeFileSync(join(bin, 'node'), '#!/bin/sh\necho v22.1.0\n', { mode: 0o755 });
        await expect(version()).rejects.toMatchObject(refusal);
        rmSync(join(bin, 'node'));
        symlinkSync(process.execPath, join(bin, 'node'));
        expect((await version()).stdout).not.toBe('');
      } finally {
        symlinkSync(join(ROOT, 'node_modules', `node-linux-${process.arch}`), carried);
      }
    },
    PATIENCE_MS,
  );
});
