import { SandboxerError } from '../domain/errors.ts';
import type { PlacementRequest } from '../domain/routing/placement.ts';
import { inWords, nearestName, printable } from '../domain/text.ts';
import type { EngineContext } from '../engine/context.ts';
import type { HostEntry } from '../ports/host-directory.ts';

const NAMES_SHOWN = 10;

/** The error for a name that no host has, with the name that may have been meant. */
export function unknownHost(name: string, entries: readonly HostEntry[], by = ''): SandboxerError {
  const known = entries.map(({ host }) => host.name);
  const nearest = nearestName(name, known);
  const shown = known.slice(0, NAMES_SHOWN);
  const rest = known.length - shown.length;
  const there = rest > 0 ? [...shown, `${rest} more`] : shown;
  return new SandboxerError('unknown_host', `There is no host "${printable(name, 80)}"${by}.`, {
    nextStep:
      nearest !== null
        ? `Did you mean ${nearest}?`
        : known.length === 0
          ? 'Register it: sandboxer hosts add NAME --ssh user@host'
          : `There are ${inWords(there)}.`,
  });
}

/**
 * The one host that is wanted: the request's, else the one that SANDBOXER_HOST names. Throws `unknown_host`.
 */
export function askedHost(
  engine: EngineContext,
  requested: string | null,
  entries: readonly HostEntry[],
): PlacementRequest['asked'] {
  const { preferred } = engine.hosts;
  const name = requested ?? preferred;
  if (name === null) return null;
  const known = entries.some(({ host, source }) => host.name === name && source !== 'ad_hoc');
  if (known) return { host: name, by: requested === null ? 'SANDBOXER_HOST' : 'the request' };
  const by = requested === null ? ', which SANDBOXER_HOST names' : '';
  throw unknownHost(
    name,
    entries.filter(({ source }) => source !== 'ad_hoc'),
    by,
  );
}

/** Throws `unknown_host` for a request that names a host nobody knows. */
export async function checkHost(engine: EngineContext, requested: string | null): Promise<void> {
  if (requested !== null) askedHost(engine, requested, await engine.hosts.entries());
}
