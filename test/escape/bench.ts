/** One sandbox, a probe program inside it, and the same probe outside. */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Sandbox, Sandboxer } from '../../src/faces/library/index.ts';
import { destroyAll } from '../standins/destroy-all.ts';

export const IS_ROOT = process.getuid?.() === 0;

export function canary(): string {
  return `canary-${randomBytes(12).toString('hex')}`;
}

export interface EscapeBench {
  readonly home: string;
  readonly directory: string;
  readonly sandboxer: Sandboxer;
  readonly sandbox: Sandbox;
  readonly probePath: string;
  /** What a probe prints outside, where nothing holds it back. */
  outside(name: string, mark: string, argument?: string): string;
  /** What it prints inside. */
  inside(name: string, mark: string, argument?: string): Promise<string>;
  /** A shell command inside: all that it prints. */
  shell(script: string, ...parameters: string[]): Promise<string>;
  close(): Promise<void>;
}

export async function openEscapeBench(): Promise<EscapeBench> {
  const directory = mkdtempSync(join(tmpdir(), 'sbx-escape-'));
  chmodSync(directory, 0o755);
  const home = join(directory, 'home');
  const probePath = join(directory, 'probe');
  execFileSync('cc', ['-static', '-O1', '-o', probePath, join(import.meta.dirname, 'probe.c')]);
  const environment = { PATH: process.env.PATH, SANDBOXER_HOME: home };
  const sandboxer = await Sandboxer.connect({ environment });
  const sandbox = await sandboxer.create({ profile: 'profile.local' });
  await sandbox.writeFile('/workspace/probe', readFileSync(probePath), '755');
  const shell = async (script: string, ...parameters: string[]) => {
    const { stdout, stderr } = await sandbox.run(['sh', '-c', script, 'sh', ...parameters], {
      timeout_ms: 15_000,
    });
    return stdout + stderr;
  };
  return {
    home,
    directory,
    sandboxer,
    sandbox,
    probePath,
    shell,
    outside: (name, mark, argument = '') =>
      spawnSync(probePath, [name, mark, argument], { encoding: 'utf8', timeout: 10_000 }).stdout,
    inside: async (name, mark, argument = '') => {
      const { stdout } = await sandbox.run(['/workspace/probe', name, mark, argument], {
        timeout_ms: 10_000,
      });
      return stdout;
    },
    async close() {
      await sandboxer.close();
      await destroyAll(home);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
