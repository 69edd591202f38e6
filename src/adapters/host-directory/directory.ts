import { adHocHost, type Host } from '../../domain/host/host.ts';
import type { HostEntry, HostRegistry, StoredHost } from '../../ports/host-directory.ts';
import type { HostLink, HostLinks } from '../../ports/host-link.ts';
import type { Store } from '../../ports/store.ts';
import { HostsFile } from './hosts-file.ts';
import { overridden, overridesFrom } from './overrides.ts';

export interface HostDirectoryOptions {
  readonly store: Pick<Store, 'getHost' | 'listHosts'>;
  /** The path of `hosts.yaml`, which need not be there. */
  readonly file: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly links: HostLinks;
}

/**
 * File, store and environment as one list. A name in the file is what the file says of it, whatever the store holds;
 * the store adds only that it is draining.
 */
export function createHostDirectory(options: HostDirectoryOptions): HostRegistry {
  const { store, environment, links } = options;
  const file = new HostsFile(options.file);
  const overrides = overridesFrom(environment);
  const preferred = environment.SANDBOXER_HOST || null;

  /** Before the environment's overrides. */
  function find(name: string, stored: StoredHost | null): HostEntry | null {
    const configured = file.hosts().find((host) => host.name === name);
    if (configured !== undefined) {
      const draining = configured.draining || (stored?.host.draining ?? false);
      return { host: { ...configured, draining }, source: 'file' };
    }
    if (stored !== null && stored.origin === 'added') return { host: stored.host, source: 'added' };
    const adHoc = name === preferred ? adHocHost(name) : null;
    if (adHoc !== null) {
      return { host: { ...adHoc, draining: stored?.host.draining ?? false }, source: 'environment' };
    }
    return stored !== null && stored.origin === 'ad_hoc' ? { host: stored.host, source: 'ad_hoc' } : null;
  }

  function resolve(name: string, stored: StoredHost | null): HostEntry | null {
    const entry = find(name, stored);
    return entry === null ? null : { ...entry, host: overridden(entry.host, overrides) };
  }

  async function entries(): Promise<readonly HostEntry[]> {
    const stored = new Map((await store.listHosts()).map((row) => [row.host.name, row]));
    const names = new Set([...stored.keys(), ...file.hosts().map(({ name }) => name)]);
    if (preferred !== null) names.add(preferred);
    return [...names]
      .sort()
      .map((name) => resolve(name, stored.get(name) ?? null))
      .filter((entry) => entry !== null);
  }

  return {
    preferred,
    file: file.path,
    resolve,
    entries,
    async get(name): Promise<Host | null> {
      return resolve(name, await store.getHost(name))?.host ?? null;
    },
    async list(): Promise<readonly Host[]> {
      return (await entries()).map(({ host }) => host);
    },
    link: (host): HostLink => links.link(host),
  };
}
