import { existsSync, readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { availableParallelism, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import type { Finding, HostTelemetry } from '../../ports/extension.ts';

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

/** Settings that forbid an ordinary user's namespaces: file, forbidding value, and the command that allows them. */
const FORBIDDING: readonly (readonly [file: string, value: string, remedy: string])[] = [
  ['kernel/unprivileged_userns_clone', '0', 'sysctl -w kernel.unprivileged_userns_clone=1'],
  [
    'kernel/apparmor_restrict_unprivileged_userns',
    '1',
    'sysctl -w kernel.apparmor_restrict_unprivileged_userns=0',
  ],
  ['user/max_user_namespaces', '0', 'sysctl -w user.max_user_namespaces=10000'],
];

/** Whether the kernel's settings let this user make namespaces; the self-test then shows whether they hold. */
export function namespaceFinding(): Finding {
  const check = 'namespaces';
  for (const [file, value, remedy] of FORBIDDING) {
    const path = join('/proc/sys', file);
    const forbids = existsSync(path) && readFileSync(path, 'utf8').trim() === value;
    const concernsRoot = file.startsWith('user/');
    if (forbids && (concernsRoot || process.getuid?.() !== 0)) {
      return { check, status: 'failed', detail: `${file.replace('/', '.')} is ${value}`, remedy };
    }
  }
  return { check, status: 'ok', detail: `Linux ${release()}; 5.12 or later is needed`, remedy: null };
}
