import { randomBytes } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { SandboxerError } from '../../domain/errors.ts';
import type { ClockAnchor } from '../clock/system-clock.ts';

/** Where everything of one installation lives. */
export interface Home {
  readonly directory: string;
  readonly socketPath: string;
  readonly tokenPath: string;
  readonly secret: Uint8Array;
  extensionDirectory(id: string): string;
}

type Environment = Readonly<Record<string, string | undefined>>;

export function homeDirectory(environment: Environment): string {
  const dataHome = environment.XDG_DATA_HOME ?? join(environment.HOME ?? homedir(), '.local', 'share');
  return environment.SANDBOXER_HOME ?? join(dataHome, 'sandboxer');
}

export function serverSocketPath(environment: Environment): string {
  return join(homeDirectory(environment), 'sandboxer.sock');
}

/** Writes a file that appears whole or not at all; the first of several writers wins. */
function createOnce(path: string, content: string | Uint8Array): void {
  if (existsSync(path)) return;
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  writeFileSync(draft, content, { mode: 0o600, flush: true });
  try {
    linkSync(draft, path);
  } catch (error) {
    if (!existsSync(path)) throw error;
  } finally {
    rmSync(draft);
  }
}

/** Makes the home with mode 0700 where it is missing. Throws `store_unavailable` naming the directory. */
export function openHome(environment: Environment): Home {
  const directory = homeDirectory(environment);
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    createOnce(join(directory, 'secret'), randomBytes(32));
    return {
      directory,
      socketPath: serverSocketPath(environment),
      tokenPath: join(directory, 'token'),
      secret: readFileSync(join(directory, 'secret')),
      extensionDirectory(id) {
        const path = join(directory, 'extensions', id);
        mkdirSync(path, { recursive: true, mode: 0o700 });
        return path;
      },
    };
  } catch (error) {
    const full = error instanceof Error && 'code' in error && error.code === 'ENOSPC';
    throw new SandboxerError(full ? 'store_full' : 'store_unavailable', `${directory} cannot be used.`, {
      nextStep: full
        ? 'Free some space on its disk.'
        : 'Make it writable, or set SANDBOXER_HOME to another directory.',
      cause: error,
    });
  }
}

interface BootAnchor {
  readonly bootId: string;
  /** Wall time minus the boot clock: wall time at boot, as first seen in this boot. */
  readonly bootWallMs: number;
}

function bootClockMs(): number {
  return Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1_000;
}

/**
 * The wall time that all processes of this home agree on during one boot: fixed once, then counted by the boot
 * clock (which also counts suspend). Setting the machine's clock moves no deadline; a reboot reads it anew.
 */
export function clockAnchor(directory: string): ClockAnchor {
  const path = join(directory, 'clock.json');
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const monotonicMs = performance.now();
  const nowBootMs = bootClockMs();
  let anchor: BootAnchor | null = null;
  if (existsSync(path)) anchor = JSON.parse(readFileSync(path, 'utf8')) as BootAnchor;
  if (anchor?.bootId !== bootId) {
    anchor = { bootId, bootWallMs: Date.now() - nowBootMs };
    writeFileSync(`${path}.new`, JSON.stringify(anchor), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }
  return { wallMs: anchor.bootWallMs + nowBootMs, monotonicMs };
}
