import { Sandboxer } from '../../src/faces/library/index.ts';

/** Destroys whatever a test left in its home. */
export async function destroyAll(
  home: string,
  variables: Readonly<Record<string, string>> = {},
): Promise<void> {
  await using sandboxer = await Sandboxer.connect({
    environment: { PATH: process.env.PATH, SANDBOXER_HOME: home, ...variables },
  });
  await destroyEverything(sandboxer);
}

export async function destroyEverything(sandboxer: Sandboxer): Promise<void> {
  for (;;) {
    const { items } = await sandboxer.list({
      limit: 500,
      state: ['requested', 'provisioning', 'ready', 'active', 'failed'],
    });
    const left = items.filter(({ desired }) => desired === 'present');
    if (left.length === 0) return;
    for (const { sandbox_id } of left) await (await sandboxer.get(sandbox_id)).destroy();
  }
}
