import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { access, chmod, constants, link, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const SOURCES = join(import.meta.dirname, '..', 'agent');
const PREBUILT = join(import.meta.dirname, '..', '..', '..', '..', 'prebuilt');
const FLAGS = [
  '-std=gnu11',
  '-D_GNU_SOURCE',
  '-Wall',
  '-Wextra',
  '-Werror',
  '-Os',
  '-static',
  '-s',
  '-ffunction-sections',
  '-fdata-sections',
  '-Wl,--gc-sections',
];
const NO_COMPILER =
  'the sandbox agent has to be built once, but no C compiler with a static C library works here; ' +
  'install them with: apt-get install --yes gcc libc6-dev';

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function sourceDigest(names: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  hash.update(FLAGS.join(' '));
  for (const name of names) {
    const text = await readFile(join(SOURCES, name));
    hash.update(`${name}\0${text.length}\0`).update(text);
  }
  return hash.digest('hex').slice(0, 16);
}

async function compile(files: readonly string[], target: string): Promise<void> {
  try {
    await run(process.env.CC ?? 'cc', [...FLAGS, '-o', target, ...files]);
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    const detail = error instanceof Error && 'stderr' in error ? String(error.stderr).slice(0, 2000) : '';
    throw new Error(isMissing ? NO_COMPILER : `${NO_COMPILER}\n${detail}`, { cause: error });
  }
}

export interface BuildOptions {
  readonly cacheDir: string;
  /** Where a package would carry finished agents; for tests. */
  readonly prebuiltDir?: string;
}

/** The path of the agent: a finished one of the package, else built from source once and kept in the cache. */
export async function buildAgent(options: BuildOptions): Promise<string> {
  const prebuilt = join(options.prebuiltDir ?? PREBUILT, `linux-${process.arch}`, 'sandboxer-agent');
  if (await isExecutable(prebuilt)) return prebuilt;
  const names = (await readdir(SOURCES)).filter((name) => /\.[ch]$/.test(name)).sort();
  const target = join(options.cacheDir, `sandboxer-agent-${await sourceDigest(names)}`);
  if (await isExecutable(target)) return target;
  await mkdir(options.cacheDir, { recursive: true });
  const temporary = `${target}.${randomUUID()}`;
  const files = names.filter((name) => name.endsWith('.c')).map((name) => join(SOURCES, name));
  try {
    await compile(files, temporary);
    /* The ids of a sandbox have to run it, whatever this process's file mode mask is. */
    await chmod(temporary, 0o755);
    /* Of two builders at once the first one wins: a launcher that runs goes on finding its own file. */
    await link(temporary, target).catch((error) => {
      if (error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(temporary, { force: true });
  }
  return target;
}
