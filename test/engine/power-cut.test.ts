/** P1, P8: what a power cut leaves of a sandbox whose intent never reached the disk is swept. */
import { cpSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { backendName } from '../../src/domain/ids.ts';
import { LocalTransport } from '../../src/faces/library/local-transport.ts';
import { Sandboxer } from '../../src/faces/library/sandboxer.ts';
import { compose } from '../../src/main.ts';
import { temporaryDirectory } from '../standins/simulated-harness.ts';

const PATIENCE_MS = 60_000;

it(
  'a directory of a sandbox that no record knows is removed, whole or torn',
  async () => {
    const home = temporaryDirectory();
    const saved = temporaryDirectory();
    const boxes = join(home, 'extensions', 'ext.local', 'boxes');
    const open = () =>
      compose({
        environment: { PATH: process.env.PATH, SANDBOXER_HOME: home },
        settings: { sweepGraceMs: 0, sweepSightingGapMs: 0 },
      });
    await (await open()).close();
    cpSync(join(home, 'store.sqlite'), join(saved, 'store.sqlite'));

    const sandboxer = new Sandboxer(new LocalTransport(await open()));
    const made = [
      await sandboxer.create({ profile: 'profile.local' }),
      await sandboxer.create({ profile: 'profile.local' }),
    ];
    const names = made.map(({ id }) => backendName(id, 1)).sort();
    const left = () =>
      readdirSync(boxes)
        .filter((name) => names.includes(name))
        .sort();
    expect(left()).toEqual(names);
    for (const name of names) {
      cpSync(join(boxes, name), join(saved, name), {
        recursive: true,
        filter: (path) => !path.endsWith('.sock'),
      });
    }
    for (const sandbox of made) await sandbox.destroy();
    await sandboxer.close();

    for (const name of readdirSync(home).filter((file) => file.startsWith('store.sqlite')))
      rmSync(join(home, name));
    cpSync(join(saved, 'store.sqlite'), join(home, 'store.sqlite'));
    for (const name of names) cpSync(join(saved, name), join(boxes, name), { recursive: true });
    writeFileSync(join(boxes, names[0]!, 'sandbox.json'), '');
    expect(left()).toEqual(names);

    const after = await open();
    const { context, sweeper } = after.engine;
    const extension = await context.extensions.load('ext.local');
    await expect
      .poll(
        async () => {
          await sweeper.sweep(extension, true, new AbortController().signal, names.length);
          return left();
        },
        { timeout: PATIENCE_MS },
      )
      .toEqual([]);
    await after.close();
  },
  2 * PATIENCE_MS,
);
