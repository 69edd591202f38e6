/** What /proc says about processes. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Of the kernel's process times; the same on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

export function residentBytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(match?.[1] ?? 0) * 1024;
}

/** Its own processor time and that of its children that have ended. */
export function processorMs(pid: number | 'self'): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return (ticks * 1_000) / TICKS_PER_SECOND;
}

export function descriptorCount(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

export function mountCount(pid: number): number {
  return readFileSync(`/proc/${pid}/mountinfo`, 'utf8').trim().split('\n').length;
}

/** The distinct namespaces that these processes are in, by kind and number. */
export function namespacesOf(pids: readonly number[]): ReadonlySet<string> {
  const found = new Set<string>();
  for (const pid of pids) {
    const directory = `/proc/${pid}/ns`;
    if (!existsSync(directory)) continue;
    for (const kind of readdirSync(directory)) found.add(readlinkSync(`${directory}/${kind}`));
  }
  return found;
}

export function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}
