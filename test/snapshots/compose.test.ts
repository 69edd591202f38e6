/** Snapshots of stacks on real hosts: what they hold goes to another host, and comes back there as it was. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Sandbox, Sandboxer } from '../../src/faces/library/index.ts';
import type { LabHost } from '../lab/host.ts';
import { WEB_IMAGE } from '../lab/images.ts';
import { writeRepository } from '../lab/stacks.ts';
import { type ComposeHome, openComposeHome } from '../standins/compose-home.ts';
import { destroyEverything } from '../standins/destroy-all.ts';

const PROFILE = 'profile.compose-checkpoint';
const BEGUN_BYTES = 1024 * 1024;

/** A draft in which some of a large file is. */
const isBegun = (home: string) => (name: string) =>
  name.endsWith('.partial') && statSync(join(home, 'snapshots', name)).size > BEGUN_BYTES;

describe.runIf(process.getuid?.() === 0)('snapshots of stacks', () => {
  let place: ComposeHome;
  let sandboxer: Sandboxer;
  let repository: string;

  beforeAll(async () => {
    place = await openComposeHome(2);
    mkdirSync(join(place.home, 'snapshots'), { mode: 0o700 });
    repository = mkdtempSync(join(tmpdir(), 'sbx-snapshots-'));
    writeRepository(repository, 'webAndData');
    sandboxer = await Sandboxer.connect({ environment: place.variables });
  });
  afterAll(async () => {
    await sandboxer.close();
    await place.lab.stop();
    for (const path of [place.home, repository]) rmSync(path, { recursive: true, force: true });
  });
  afterEach(async () => {
    await destroyEverything(sandboxer);
    for (const one of place.lab.hosts) {
      const left = [await one.containers(), await one.volumes(), await one.networks(), one.baseEntries()];
      expect(left, one.name).toEqual([[], [], [], []]);
    }
    expect(readdirSync(join(place.home, 'snapshots')).filter((name) => name.endsWith('.partial'))).toEqual(
      [],
    );
  });

  const host = (index: number): LabHost => place.lab.hosts[index]!;
  const create = () =>
    sandboxer.create({ profile: PROFILE, inputs: { repo: repository, 'env.TOKEN': 'hush' }, host: 'host1' });
  const ask = async (sandbox: Sandbox, question: string) =>
    (await sandbox.run(['data-ask', 'data', question])).stdout.trim();
  const dataContainers = async (index: number, { id }: Sandbox) => {
    const filters = [`label=sandboxer.name=sbx-${id}`, 'label=com.docker.compose.service=data'];
    const { stdout } = await host(index).docker(
      'ps',
      '-q',
      ...filters.flatMap((filter) => ['--filter', filter]),
    );
    return stdout.trim().split('\n');
  };
  const inWorkspace = (sandbox: Sandbox, path: string) => `/tmp/sandboxer/${sandbox.id}/${path}`;

  it('a stack with a volume goes on on another host, and its source goes on where it is', async () => {
    const source = await create();
    expect(await ask(source, 'SET key value-of-before')).toBe('OK');
    await host(0).run(['sh', '-c', `echo written-later >${inWorkspace(source, 'note')}`]);
    await host(0).run(['ln', '-s', '/etc/passwd', inWorkspace(source, 'out')]);
    await host(0).run(['sh', '-c', `head -c 20M /dev/urandom >${inWorkspace(source, 'noise')}`]);
    const snapshot = await source.snapshot();
    expect(snapshot).toMatchObject({
      sandbox_id: source.id,
      profile_id: PROFILE,
      engine: 'docker',
      services: ['data', 'web'],
      withheld_inputs: ['env.TOKEN'],
      parts: [{ kind: 'workspace' }, { kind: 'volume', name: 'data', service: 'data' }],
    });
    expect(snapshot.not_captured.join()).toMatch(/memory.*env\.TOKEN.*leads out: out/);
    const file = readFileSync(join(place.home, 'snapshots', `${snapshot.snapshot_id}.tar.zst`));
    expect(createHash('sha256').update(file).digest('hex')).toBe(snapshot.sha256);
    expect((await source.refresh()).status.state).toBe('active');
    expect(await ask(source, 'SET key value-of-after')).toBe('OK');

    const restored = await sandboxer.restore(snapshot.snapshot_id, { host: 'host2' });
    expect(restored.status).toMatchObject({
      state: 'ready',
      restored_from: snapshot.snapshot_id,
      left_out: [expect.stringContaining('env.TOKEN')],
      reachability: { host: 'host2' },
    });
    expect(await ask(restored, 'GET key')).toBe('value-of-before');
    expect(await ask(source, 'GET key')).toBe('value-of-after');
    const noise = await Promise.all(
      [source, restored].map((sandbox, index) =>
        host(index).run(['sh', '-c', `sha256sum <${inWorkspace(sandbox, 'noise')}`]),
      ),
    );
    expect(noise[1]).toEqual(noise[0]);
    const note = await host(1).run([
      'cat',
      inWorkspace(restored, 'note'),
      inWorkspace(restored, 'README.md'),
    ]);
    expect(note.stdout).toBe('written-later\nA repository of the lab.\n');
    expect((await host(1).run(['test', '-L', inWorkspace(restored, 'out')])).exitCode).not.toBe(0);

    const again = await restored.recreate();
    expect(await ask(again, 'GET key')).toBe('value-of-before');
  }, 120_000);

  it('a volume comes back on the same host with its owners and modes, its own directory’s too', async () => {
    const source = await create();
    const [container] = await dataContainers(0, source);
    const script = `cd /data && mkdir -p d && echo x >d/f && chown 70:71 d/f && chmod 640 d/f && chown 300000:300001 d
      ln -s d/f inside && ln d/f hard && chown 999:998 . && chmod 2770 .`;
    expect((await host(0).docker('exec', container!, 'sh', '-c', script)).stderr).toBe('');
    const look = async (sandbox: Sandbox) => {
      const [one] = await dataContainers(0, sandbox);
      const words = ['-c', '%n %a %u:%g %h', '.', 'd', 'd/f', 'hard', 'inside'];
      return (await host(0).docker('exec', '-w', '/data', one!, 'stat', ...words)).stdout;
    };
    const before = await look(source);
    expect(before).toContain('. 2770 999:998');
    const { snapshot_id: id } = await source.snapshot();
    const restored = await sandboxer.restore(id, { host: 'host1' });
    expect(await look(restored)).toBe(before);
  }, 120_000);

  it('the workspace alone goes to this machine, and what is left out is said', async () => {
    const source = await create();
    await host(0).run(['sh', '-c', `echo from-afar >${inWorkspace(source, 'note')}`]);
    const { snapshot_id: id } = await source.snapshot();
    const here = await sandboxer.restore(id, { profile: 'profile.local' });
    expect(here.status).toMatchObject({ extension_id: 'ext.local', restored_from: id });
    expect(here.status.left_out).toEqual([
      expect.stringContaining('volume data: ext.local has'),
      expect.stringContaining('env.TOKEN'),
    ]);
    expect(
      (await here.run(['sh', '-c', 'cat note && echo from-here >note && cat e2e/compose.yml'])).stdout,
    ).toMatch(/^from-afar\n[\s\S]*services:/);
    const { snapshot_id: local } = await here.snapshot();
    const back = await sandboxer.restore(local, { profile: PROFILE, host: 'host2' });
    expect((await host(1).run(['cat', inWorkspace(back, 'note')])).stdout).toBe('from-here\n');
    expect(await ask(back, 'GET key')).toBe('NONE');
  }, 120_000);

  it('what a sandbox made of its own Compose file is checked again', async () => {
    const source = await create();
    const file = inWorkspace(source, 'e2e/compose.yml');
    const changes: [script: string, sentence: RegExp][] = [
      [`printf 'services: {web: {image: x, privileged: true}}' >${file}`, /compose\.yml:1: .*privileged/],
      [`rm ${file} && ln -s ../README.md ${file}`, /not a plain file/],
      [`cd ${inWorkspace(source, '.')} && mv e2e real && ln -s real e2e`, /not a plain file/],
      [
        `cd ${inWorkspace(source, '.')} && rm e2e && mkdir e2e && printf 'services: {web: {image: "${WEB_IMAGE}"}}' >e2e/compose.yml`,
        /mounts the volume data/,
      ],
      [
        `cd ${inWorkspace(source, '.')} && rm -r e2e && printf '#\\n#\\nservices: {web: {image: x, privileged: true}}' >compose.yml && echo '{}' >docker-compose.yml`,
        /^Compose\.yml:3: .*privileged/,
      ],
    ];
    for (const [script, sentence] of changes) {
      expect((await host(0).run(['sh', '-c', script])).stderr).toBe('');
      const { snapshot_id: id } = await source.snapshot();
      const refused = await sandboxer.restore(id, { host: 'host2' }).catch((error: unknown) => error);
      expect(refused).toMatchObject({ code: 'invalid_input', message: expect.stringMatching(sentence) });
      expect(host(1).baseEntries()).toEqual([]);
    }
  }, 120_000);

  it('a disk that becomes full in the middle is said, and nothing is left', async () => {
    const source = await create();
    await host(0).run(['sh', '-c', `head -c 120M /dev/urandom >${inWorkspace(source, 'noise')}`]);
    const { snapshot_id: id } = await source.snapshot();
    const filling = `${host(1).baseDirectory}/filling`;
    await host(1).run(['sh', '-c', `head -c 170M /dev/zero >${filling}`]);
    const refused = await sandboxer.restore(id, { host: 'host2' }).catch((error: unknown) => error);
    await host(1).run(['rm', filling]);
    expect(refused).toMatchObject({ message: expect.stringMatching(/no space left/i) });
    await sandboxer.deleteSnapshot(id);
  }, 120_000);

  it('a damaged archive starts nothing, wherever the damage lies', async () => {
    const source = await create();
    await ask(source, `SET key ${'x'.repeat(500)}`);
    const { snapshot_id: id } = await source.snapshot();
    const path = join(place.home, 'snapshots', `${id}.tar.zst`);
    const bytes = readFileSync(path);
    const turned = [0.3, 0.7, 1].map((part) => {
      const copy = Buffer.from(bytes);
      copy[Math.min(bytes.length - 1, Math.floor(bytes.length * part))]! ^= 4;
      return copy;
    });
    // Whole as far as zstd and tar can tell; the Compose file in it would be refused, were it the sandbox's own.
    const script = `zstd -dc "$1" | sed 's/image:/imagf:/' | zstd -c`;
    const other = execFileSync('sh', ['-c', script, 'sh', path]);
    for (const changed of [...turned, other]) {
      writeFileSync(path, changed);
      const refused = await sandboxer.restore(id, { host: 'host2' }).catch((error: unknown) => error);
      expect(refused).toMatchObject({ code: 'snapshot_corrupt' });
      expect([await host(1).containers(), await host(1).volumes(), host(1).baseEntries()]).toEqual([
        [],
        [],
        [],
      ]);
    }
  }, 120_000);

  it('a host that is cut off in the middle: no snapshot, a clear sentence, and the source goes on', async () => {
    const source = await create();
    const [container] = await dataContainers(0, source);
    await host(0).docker('exec', container!, 'sh', '-c', 'dd if=/dev/urandom of=/data/large bs=1M count=192');
    const known = (await sandboxer.listSnapshots()).items.length;
    for (const [cut, mend] of [
      [() => host(0).killSshdSessions(), async () => undefined],
      [() => host(0).linkDown(), () => host(0).linkUp()],
      [() => host(0).stopEngine({ kill: true }), () => host(0).startEngine()],
    ] as const) {
      let isOver = false;
      const taken = source
        .snapshot()
        .catch((error: unknown) => error)
        .finally(() => {
          isOver = true;
        });
      while (!isOver && !readdirSync(join(place.home, 'snapshots')).some(isBegun(place.home))) await sleep(5);
      await cut();
      const refused = await taken;
      await mend();
      expect(refused).toMatchObject({ code: expect.stringMatching(/^backend_/) });
      expect((await sandboxer.listSnapshots()).items).toHaveLength(known);
    }
  }, 180_000);
});
