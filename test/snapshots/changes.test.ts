/** Snapshots of what changed: what is restored is the tree as it was, whatever became of it since the whole one. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Sandbox, Sandboxer } from '../../src/faces/library/index.ts';
import type { LabHost } from '../lab/host.ts';
import { type ComposeHome, openComposeHome } from '../standins/compose-home.ts';
import { destroyEverything } from '../standins/destroy-all.ts';

describe.runIf(process.getuid?.() === 0)('a snapshot of what changed', () => {
  let place: ComposeHome;
  let host: LabHost;
  let sandboxer: Sandboxer;

  beforeAll(async () => {
    place = await openComposeHome(1);
    host = place.lab.hosts[0]!;
    await host.useDisk(256);
    mkdirSync(join(place.home, 'snapshots'), { mode: 0o700 });
    sandboxer = await Sandboxer.connect({ environment: place.variables });
  });
  afterAll(async () => {
    await sandboxer.close();
    await place.lab.stop();
    rmSync(place.home, { recursive: true, force: true });
  });
  afterEach(async () => {
    await destroyEverything(sandboxer);
    expect(host.baseEntries()).toEqual([]);
  });

  const create = () => sandboxer.create({ profile: place.profile, host: 'host1' });
  const directoryOf = ({ id }: Sandbox) => `/tmp/sandboxer/${id}`;
  const inside = async (sandbox: Sandbox, script: string) => {
    const { stdout, stderr } = await host.run(['sh', '-ec', `cd ${directoryOf(sandbox)}; ${script}`]);
    expect(stderr).toBe('');
    return stdout;
  };
  const look = (sandbox: Sandbox) =>
    inside(
      sandbox,
      `find . -printf '%P %y %m %Ts %n %l\\n' | sort; find . -type f -exec sha256sum {} + | sort`,
    );

  it('is restored as the tree was', async () => {
    const source = await create();
    await inside(
      source,
      'mkdir d; echo one >d/one; echo two >d/two; head -c 3000000 /dev/urandom >large; sleep 2.1',
    );
    const whole = await source.snapshot();
    expect(whole.based_on).toBe(null);
    await inside(source, 'echo three >d/three; rm d/one;');
    const changed = await source.snapshot();
    expect(changed.based_on).toBe(whole.snapshot_id);
    const restored = await sandboxer.restore(changed.snapshot_id);
    expect(await look(restored)).toBe(await look(source));
  }, 120_000);
});
