import { isDeepStrictEqual } from 'node:util';
import type { Host } from '../../domain/host/host.ts';
import type { Clock } from '../../ports/clock.ts';
import type { HostLink, HostLinks } from '../../ports/host-link.ts';
import { ControlDirectory } from './control-directory.ts';
import { LocalLink } from './local.ts';
import type { Environment } from './process.ts';
import { SshLink } from './ssh.ts';

export interface HostLinksOptions {
  /** For control sockets; made with mode 0700. A path too long for a socket is replaced by a private temporary one. */
  readonly directory: string;
  readonly clock: Clock;
  /** Of the programs started here: `ssh` finds the agent, the home and its helpers in it. */
  readonly environment: Environment;
  /** Instead of `~/.ssh/config` and the system's. */
  readonly configFile?: string;
}

/** One link a host. When how to reach it changes, the old link is left to those who use it and closes when idle. */
export function createHostLinks({ directory, clock, environment, configFile }: HostLinksOptions): HostLinks {
  const controlDirectory = new ControlDirectory(directory);
  const links = new Map<string, HostLink>();
  const superseded = new Set<HostLink>();

  const create = (host: Host): HostLink =>
    host.ssh === null
      ? new LocalLink(host, { environment, clock })
      : new SshLink(host, host.ssh, {
          directory: controlDirectory,
          configFile: configFile ?? null,
          environment,
          clock,
        });

  return {
    link(host) {
      const known = links.get(host.name);
      if (known !== undefined && isDeepStrictEqual(known.host.ssh, host.ssh)) return known;
      if (known !== undefined) superseded.add(known);
      const link = create(host);
      links.set(host.name, link);
      return link;
    },
    async close() {
      await Promise.all([...links.values(), ...superseded].map((link) => link.close()));
      links.clear();
      superseded.clear();
      controlDirectory.remove();
    },
  };
}
