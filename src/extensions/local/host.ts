import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { access, constants, statfs } from 'node:fs/promises';
import { availableParallelism, loadavg, totalmem } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import type { HostTelemetry } from '../../ports/extension.ts';

const run = promisify(execFile);

export interface Bubblewrap {
  readonly path: string;
  readonly version: string;
  readonly canDisableUserNamespaces: boolean;
}

/** bubblewrap as configured or on the PATH, or null. */
export async function findBubblewrap(
  configured: string | null,
  searchPath: string,
): Promise<Bubblewrap | null> {
  const candidates =
    configured === null
      ? searchPath.split(delimiter).map((directory) => join(directory, 'bwrap'))
      : [configured];
  for (const path of candidates) {
    try {
      await access(path, constants.X_OK);
      const { stdout } = await run(path, ['--help'], { env: {} });
      const { stdout: version } = await run(path, ['--version'], { env: {} });
      return { path, version: version.trim(), canDisableUserNamespaces: stdout.includes('--disable-userns') };
    } catch {
      // not this one: the next candidate, and in the end "not found", which refuses every sandbox
    }
  }
  return null;
}

function memoryAvailableMb(): number {
  const match = /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'));
  return match === null ? 0 : Math.floor(Number(match[1]) / 1_024);
}

/** Load, memory and disk of this machine. Containers are not counted here. */
export async function measureHost(): Promise<HostTelemetry> {
  const [load1, load5, load15] = loadavg() as [number, number, number];
  const { blocks, bavail, bfree, bsize } = await statfs('/');
  const round = (value: number) => Math.round(value * 100) / 100;
  return {
    load_1m: round(load1),
    load_5m: round(load5),
    load_15m: round(load15),
    cpu_count: availableParallelism(),
    mem_total_mb: Math.floor(totalmem() / 1_048_576),
    mem_available_mb: memoryAvailableMb(),
    disk_root_used_pct: Math.round(((blocks - bfree) / blocks) * 1_000) / 10,
    disk_root_avail_gb: round((bavail * bsize) / 1e9),
    running_containers: null,
    sandbox_containers: null,
  };
}

/**
 * Start time of a living process in clock ticks since boot: with the number it names one process for good. One that
 * has ended and is not reaped yet holds nothing any more and counts as gone.
 */
export function processStartTime(pid: number): string | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? null);
  } catch {
    return null; // there is no such process
  }
}

/** The only child of bubblewrap outside is the first process inside; null while there is none. */
export function firstChildOf(pid: number): number | null {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return text === '' ? null : Number(text.split(' ')[0]);
  } catch {
    return null; // it has ended meanwhile
  }
}
