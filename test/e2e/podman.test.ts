/** A host whose engine is Podman, with Docker's command line over its socket. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { Sandboxer } from '../../src/faces/library/index.ts';
import type { LabHost } from '../lab/host.ts';
import { DATA_IMAGE, WEB_IMAGE } from '../lab/images.ts';
import { type Lab, startLab } from '../lab/lab.ts';
import { startPodman } from '../lab/podman.ts';
import { hostOf } from '../standins/compose-harness.ts';

const PATIENCE_MS = 120_000;
const ASKED_BY_ITSELF_FROM = 5;
/** Without health checks: Podman has systemd run them, and hosts of the lab have none. */
const STACK = {
  services: {
    web: { image: WEB_IMAGE, depends_on: ['data'] },
    data: { image: DATA_IMAGE, volumes: ['data:/data'] },
  },
  volumes: { data: {} },
};

describe.runIf(process.getuid?.() === 0)('a Podman host', () => {
  let lab: Lab;
  let place: string;
  let sandboxer: Sandboxer;
  let host: LabHost;

  const open = (home: string, hosts: readonly object[]) => {
    mkdirSync(home);
    writeFileSync(join(home, 'hosts.yaml'), stringify(hosts));
    const environment = {
      PATH: process.env.PATH,
      SANDBOXER_HOME: home,
      SANDBOXER_SSH_CONFIG: lab.sshConfigFile,
    };
    return Sandboxer.connect({ environment });
  };
  const repository = () => join(place, 'repository');

  beforeAll(async () => {
    lab = await startLab({ hosts: 1, engines: false });
    host = lab.hosts[0]!;
    await startPodman(host);
    place = mkdtempSync(join(tmpdir(), 'sbx-podman-'));
    mkdirSync(join(repository(), 'e2e'), { recursive: true });
    writeFileSync(join(repository(), 'e2e', 'compose.yml'), stringify(STACK));
    sandboxer = await open(join(place, 'home'), [hostOf(host, lab.keyFile)]);
  }, PATIENCE_MS);
  afterAll(async () => {
    await sandboxer.close();
    await lab.stop();
    rmSync(place, { recursive: true, force: true });
  });

  /** By Podman's own word, and the disk's. */
  const holds = async () => {
    const ask = async (...words: string[]) => (await host.run(['podman', ...words])).stdout.trim();
    const kinds = [
      ask('ps', '-aq'),
      ask('volume', 'ls', '-q'),
      ask('network', 'ls', '--format', '{{.Name}}'),
    ];
    return [...(await Promise.all(kinds)), host.baseEntries()];
  };
  const NOTHING = ['', '', 'podman', []];

  it(
    'carries a stack with limits, in which commands run and files come and go, and then nothing of it',
    async () => {
      const checked = await sandboxer.transport.call('hosts_check', { name: host.name });
      expect(checked).toMatchObject({ ok: true, items: [{ name: host.name, reason: null }] });
      const made = await sandboxer.create({ profile: 'profile.compose-e2e', inputs: { repo: repository() } });
      expect(await made.run(['sh', '-c', 'echo out; echo err >&2; exit 7'])).toMatchObject({
        stdout: 'out\n',
        stderr: 'err\n',
        exitCode: 7,
      });
      await made.writeFile('/tmp/file', Buffer.from('in and out'));
      expect((await made.run(['cat', '/tmp/file'])).stdout).toBe('in and out');
      const { parts } = await made.snapshot();
      expect(parts.map(({ kind }) => kind)).toEqual(['workspace', 'volume']);
      await made.destroy();
      expect(await holds()).toEqual(NOTHING);
    },
    PATIENCE_MS,
  );

  it(
    'that only has podman-compose is refused with what to do, and nothing is begun there',
    async (context) => {
      const [version] = /\d+/.exec((await host.run(['podman', '--version'])).stdout) ?? [];
      if (Number(version) >= ASKED_BY_ITSELF_FROM) return context.skip();
      const bare = { ...hostOf(host, lab.keyFile), compose_command: 'podman-compose' };
      await using alone = await open(join(place, 'alone'), [bare]);
      const attempt = alone.create({ profile: 'profile.compose-e2e', inputs: { repo: repository() } });
      await expect(attempt).rejects.toMatchObject({ message: expect.stringContaining('over its socket') });
      expect(await holds()).toEqual(NOTHING);
    },
    PATIENCE_MS,
  );
});
