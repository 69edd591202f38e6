import { SandboxerError } from '../../domain/errors.ts';
import { inWords, nearestName } from '../../domain/text.ts';
import type { CreateExtension, Extension, ExtensionContext } from '../../ports/extension.ts';
import type { ExtensionRegistry, ExtensionSummary } from '../../ports/extension-registry.ts';

export interface InstalledExtension {
  readonly summary: ExtensionSummary;
  load(): Promise<{ readonly createExtension: CreateExtension }>;
}

/** Loads an extension's code when it is first asked for, once. */
export function createLazyRegistry(
  installed: readonly InstalledExtension[],
  contextOf: (id: string) => ExtensionContext,
): ExtensionRegistry {
  const byId = new Map(installed.map((extension) => [extension.summary.id, extension]));
  const loading = new Map<string, Promise<Extension>>();
  const loaded: Extension[] = [];

  async function create(extension: InstalledExtension): Promise<Extension> {
    const { createExtension } = await extension.load();
    const instance = await createExtension(contextOf(extension.summary.id));
    loaded.push(instance);
    return instance;
  }

  return {
    summaries: () => installed.map(({ summary }) => summary),
    has: (id) => byId.has(id),
    endsWithMachine: (id) => byId.get(id)?.summary.endsWithMachine ?? false,
    async load(id) {
      const extension = byId.get(id);
      if (extension === undefined) {
        const nearest = nearestName(id, [...byId.keys()]);
        throw new SandboxerError('unknown_extension', `There is no extension "${id}".`, {
          nextStep:
            nearest === null ? `Installed are ${inWords([...byId.keys()])}.` : `Did you mean ${nearest}?`,
        });
      }
      let instance = loading.get(id);
      if (instance === undefined) {
        instance = create(extension);
        loading.set(id, instance);
        instance.catch(() => loading.delete(id));
      }
      return instance;
    },
    async close() {
      await Promise.all(loaded.map((extension) => extension.close()));
    },
  };
}
