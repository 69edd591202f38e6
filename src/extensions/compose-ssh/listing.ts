/** What the list script says, as things of the contract. */
import { parseBackendName } from '../../domain/ids.ts';
import type { Listed } from '../../ports/extension.ts';
import { nameOfKey } from './client.ts';
import { handleOf, UNRECORDED } from './handle.ts';
import { readRecord } from './status.ts';

/** The engine's time, such as "2026-11-24 18:44:45 +0000 UTC", against the host's own seconds. */
function ageOfEngineTime(text: string | undefined, nowSeconds: number): number | null {
  const madeMs = Date.parse((text ?? '').replace(/ [A-Z]{2,5}$/, ''));
  return Number.isNaN(madeMs) ? null : Math.max(0, nowSeconds * 1_000 - madeMs);
}

/** A directory comes before what the engine knows under the same name: it tells record and age. */
export function listed(lines: readonly (readonly string[])[], host: string): readonly Listed[] {
  const nowSeconds = Number(lines.find(([kind]) => kind === 'now')?.[1] ?? Number.NaN);
  const found = new Map<string, Listed>();
  for (const [kind, word = '', age, line] of lines) {
    const name = kind === 'directory' ? nameOfKey(word) : word;
    if (name === null || parseBackendName(name) === null) continue;
    const ageMs = kind === 'directory' ? Number(age) * 1_000 : ageOfEngineTime(age, nowSeconds);
    const known = found.get(name);
    if (known !== undefined && (known.ageMs !== null || ageMs === null)) continue;
    const record = kind === 'directory' ? readRecord(line) : null;
    found.set(name, {
      name,
      tags: known?.tags ?? record?.tags ?? {},
      ageMs,
      handle: known?.handle ?? handleOf({ host, ...(record ?? UNRECORDED) }),
    });
  }
  return [...found.values()];
}
