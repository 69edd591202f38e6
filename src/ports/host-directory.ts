/** The hosts there are: those registered in the store, those of the home's `hosts.yaml`, and the one SANDBOXER_HOST names. */
import type { Host } from '../domain/host/host.ts';
import type { HostLink } from './host-link.ts';

/** What an extension with hosts is given. Everything is as the environment of this process overrides it. */
export interface HostDirectory {
  /** Null when no host of that name is known any more. Rejects with `invalid_hosts` for a broken file. */
  get(name: string): Promise<Host | null>;
  /** Every host on which something of ours may be, by name. */
  list(): Promise<readonly Host[]>;
  link(host: Host): HostLink;
}

/** What the store keeps under a name. */
export interface StoredHost {
  readonly host: Host;
  /**
   * `added` by the operator; `ad_hoc`: SANDBOXER_HOST named it while a sandbox was placed there, and it is kept so that
   * the sandbox can be found again; `mark`: only `draining` counts, the rest is in the file.
   */
  readonly origin: 'added' | 'ad_hoc' | 'mark';
}

export interface HostEntry {
  readonly host: Host;
  readonly source: 'added' | 'file' | 'environment' | 'ad_hoc';
}

/** What the engine and the operations see. */
export interface HostRegistry extends HostDirectory {
  /** What SANDBOXER_HOST says. */
  readonly preferred: string | null;
  /** The file that names can be configured in. */
  readonly file: string;
  entries(): Promise<readonly HostEntry[]>;
  /** The host of a name, given what the store has under it. Asks nothing, so that it can be used in a transaction. */
  resolve(name: string, stored: StoredHost | null): HostEntry | null;
}
