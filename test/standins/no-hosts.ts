import type { HostDirectory } from '../../src/ports/host-directory.ts';

/** For an extension without hosts. */
export const NO_HOSTS: HostDirectory = {
  get: async () => null,
  list: async () => [],
  link() {
    throw new RangeError('there are no hosts');
  },
};
