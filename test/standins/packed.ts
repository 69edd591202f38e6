/** The package as `npm pack` makes it, installed in a project of its own without asking a registry. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');

export interface PackedProject {
  readonly directory: string;
  /** What `node_modules/.bin` of the project offers. */
  readonly command: string;
  /** Of the tarball, without the folder that all are in. */
  readonly files: readonly string[];
  remove(): void;
}

interface PackageFacts {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

function link(name: string, modules: string): void {
  mkdirSync(dirname(join(modules, name)), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
}

/**
 * Packs, unpacks below `node_modules` of a new project, and links `extra` packages and the dependencies beside it.
 * Not to be done twice at once: packing makes `dist/` anew.
 */
export function installPacked(extra: readonly string[] = []): PackedProject {
  const directory = mkdtempSync(join(tmpdir(), 'sbx-packed-'));
  const said = execFileSync('npm', ['pack', '--silent', '--pack-destination', directory], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  const tarball = join(directory, said.trim().split('\n').at(-1)!);
  const modules = join(directory, 'node_modules');
  const home = join(modules, 'sand-boxer');
  mkdirSync(home, { recursive: true });
  execFileSync('tar', ['-xzf', tarball, '-C', home, '--strip-components=1']);
  const facts = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')) as PackageFacts;
  const node = `node-linux-${process.arch}`;
  for (const name of [...Object.keys(facts.dependencies), node, ...extra]) link(name, modules);
  mkdirSync(join(modules, '.bin'));
  symlinkSync('../sand-boxer/sandboxer', join(modules, '.bin', 'sandboxer'));
  return {
    directory,
    command: join(modules, '.bin', 'sandboxer'),
    files: execFileSync('tar', ['-tzf', tarball], { encoding: 'utf8' })
      .trim()
      .split('\n')
      .map((path) => path.replace(/^[^/]*\//, '')),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
