/** What a sandbox stands on: the agent, `/etc`, and the proof that isolation holds here. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { type ExtensionContext, ExtensionError } from '../../ports/extension.ts';
import { findHostBase, prepareEtcDirectory } from './native/base-files.ts';
import type { PreparedEtc, SandboxRoot } from './native/box-plan.ts';
import { buildAgent } from './native/build.ts';

const PACKAGE_ROOT = join(import.meta.dirname, '..', '..', '..');

export interface Ground {
  readonly agentPath: string;
  readonly etc: PreparedEtc;
  readonly hostRoot: SandboxRoot;
  readonly imagesDirectory: string;
  readonly isRoot: boolean;
}

const proofSchema = z.object({
  /** Everything the proof depends on; another value means it must be proven again. */
  key: z.string(),
  etc: z.object({ directory: z.string(), binds: z.array(z.string()) }),
});

/** The last proof, kept for one boot, so that a command need not prove again what another one proved. */
class ProofFile {
  readonly #path: string;

  constructor(directory: string) {
    this.#path = join(directory, 'proof.json');
  }

  read(key: string): PreparedEtc | null {
    if (!existsSync(this.#path)) return null;
    const parsed = proofSchema.safeParse(JSON.parse(readFileSync(this.#path, 'utf8')));
    return parsed.success && parsed.data.key === key && existsSync(parsed.data.etc.directory)
      ? parsed.data.etc
      : null;
  }

  write(key: string, etc: PreparedEtc): void {
    writeFileSync(`${this.#path}.new`, JSON.stringify({ key, etc }), { mode: 0o600 });
    renameSync(`${this.#path}.new`, this.#path);
  }
}

function proofKey(agentPath: string): string {
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return [bootId, agentPath, process.getuid?.()].join(' ');
}

async function findAgent(): Promise<string> {
  try {
    return await buildAgent({ cacheDir: join(PACKAGE_ROOT, 'build') });
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : 'it could not be built';
    throw new ExtensionError('transient', `The agent is not there: ${reason}`, { cause: error });
  }
}

/**
 * Finds everything, and has `prove` start a sandbox and look around in it unless that was done since the machine
 * started. Throws an ExtensionError with the sentence that says what is missing; there is no other way to run.
 */
export async function prepareGround(
  context: ExtensionContext,
  prove: (ground: Ground) => Promise<void>,
): Promise<Ground> {
  const agentPath = await findAgent();
  const proof = new ProofFile(context.directory);
  const key = proofKey(agentPath);
  const proven = proof.read(key);
  const ground: Ground = {
    agentPath,
    etc: proven ?? (await prepareEtcDirectory(join(context.directory, 'etc'))),
    hostRoot: await findHostBase(),
    imagesDirectory: join(context.directory, 'images'),
    isRoot: process.getuid?.() === 0,
  };
  if (proven === null) {
    await prove(ground);
    proof.write(key, ground.etc);
  }
  return ground;
}
