import { SandboxerError } from '../../src/domain/errors.ts';
import type { Store } from '../../src/ports/store.ts';

/** A store on which everything fails, as on a disk that was pulled. */
export function createFailingStore(): Store {
  const fail = async (): Promise<never> => {
    throw new SandboxerError('store_unavailable', 'The store could not be read or written.');
  };
  return new Proxy({} as Store, {
    get: (_target, name) => (name === 'close' ? async () => undefined : fail),
  });
}
