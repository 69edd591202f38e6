/** A good extension, changed in exactly one way, and the case of the suite that must notice. */
import type { Extension } from '../../src/ports/extension.ts';

export interface BrokenExtension {
  readonly defect: string;
  /** The case that must reject it. */
  readonly caughtBy: string;
  wrap(good: Extension): Extension;
}

export function broken(
  defect: string,
  caughtBy: string,
  change: (good: Extension) => Partial<Extension>,
): BrokenExtension {
  return { defect, caughtBy, wrap: (good) => ({ ...good, ...change(good) }) };
}
