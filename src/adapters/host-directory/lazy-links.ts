import { isDeepStrictEqual } from 'node:util';
import type { Host } from '../../domain/host/host.ts';
import type { HostLink, HostLinks } from '../../ports/host-link.ts';

/** Links whose code is loaded when the first of them is used: most commands never talk to a host. */
export function createLazyLinks(load: () => Promise<HostLinks>): HostLinks {
  const links = new Map<string, HostLink>();
  let loading: Promise<HostLinks> | null = null;

  async function real(host: Host): Promise<HostLink> {
    loading ??= load();
    return (await loading).link(host);
  }

  const create = (host: Host): HostLink => ({
    host,
    run: async (command) => (await real(host)).run(command),
    start: async (command) => (await real(host)).start(command),
    upload: async (tree) => (await real(host)).upload(tree),
    connect: async (target, signal) => (await real(host)).connect(target, signal),
    close: async () => (await real(host)).close(),
  });

  return {
    link(host) {
      const known = links.get(host.name);
      if (known !== undefined && isDeepStrictEqual(known.host, host)) return known;
      const link = create(host);
      links.set(host.name, link);
      return link;
    },
    async close() {
      if (loading !== null) await (await loading).close();
    },
  };
}
