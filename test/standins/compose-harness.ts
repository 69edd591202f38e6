/** ext.compose-ssh under the shared suite, on real hosts of the lab. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystemClock } from '../../src/adapters/clock/system-clock.ts';
import { SYSTEM_ENTROPY } from '../../src/adapters/entropy/system-entropy.ts';
import { createHostLinks } from '../../src/adapters/host-links/links.ts';
import { type ConformanceHarness, newConformanceName } from '../../src/conformance/suite.ts';
import { type Host, hostSchema } from '../../src/domain/host/host.ts';
import { createExtension } from '../../src/extensions/compose-ssh/extension.ts';
import { EXTENSIONS } from '../../src/extensions/registry.gen.ts';
import type { ExtensionContext, SandboxSpec } from '../../src/ports/extension.ts';
import type { HostLinks } from '../../src/ports/host-link.ts';
import type { LabHost } from '../lab/host.ts';
import { loadImages, WEB_IMAGE } from '../lab/images.ts';
import { type Lab, startLab } from '../lab/lab.ts';

export interface ComposeLab {
  readonly lab: Lab;
  readonly hosts: readonly Host[];
  readonly links: HostLinks;
  context(): ExtensionContext;
  stop(): Promise<void>;
}

export function hostOf({ name, address, port, user, baseDirectory }: LabHost, keyFile: string): Host {
  return hostSchema.parse({
    name,
    ssh: { user, address, port, key_file: keyFile },
    base_directory: baseDirectory,
  });
}

export async function startComposeLab(count: number): Promise<ComposeLab> {
  const lab = await startLab({ hosts: count });
  await Promise.all(lab.hosts.map(loadImages));
  const directory = mkdtempSync(join(tmpdir(), 'sbx-compose-'));
  const clock = createSystemClock();
  const hosts = lab.hosts.map((host) => hostOf(host, lab.keyFile));
  const environment = { PATH: process.env.PATH, SANDBOXER_CANARY_IMAGE: WEB_IMAGE };
  const links = createHostLinks({
    directory: join(directory, 'links'),
    clock,
    environment,
    configFile: lab.sshConfigFile,
  });
  return {
    lab,
    hosts,
    links,
    context: () => ({
      directory,
      secret: SYSTEM_ENTROPY.bytes(32),
      clock,
      entropy: SYSTEM_ENTROPY,
      environment,
      hosts: {
        get: async (name) => hosts.find((host) => host.name === name) ?? null,
        list: async () => hosts,
        link: (host) => links.link(host),
      },
    }),
    async stop() {
      await links.close();
      await lab.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

const SPEC: SandboxSpec = {
  isolationLevel: 'container',
  network: { default: 'deny', egress: [] },
  resources: { cpu: null, memoryMb: null, processes: null, allowDegraded: false },
  inputs: {},
  placement: { host: 'host1' },
  configuration: {},
};

export function composeSpec(overrides: Partial<SandboxSpec> = {}): SandboxSpec {
  return { ...SPEC, ...overrides };
}

export function composeHarness(running: () => ComposeLab): ConformanceHarness {
  return {
    create: () => createExtension(running().context()),
    spec: composeSpec,
    newName: () => newConformanceName(SYSTEM_ENTROPY),
    clock: createSystemClock(),
    timings: { readyWithinMs: 20_000, goneWithinMs: 20_000, pollMs: 100, shortDeadlineMs: 6_000 },
    truth: {
      exists: async (name) => {
        const host = running().lab.hosts[0]!;
        const projects = await host.composeProjects();
        return projects.includes(name) || host.baseEntries().includes(name.slice('sbx-'.length));
      },
    },
    manifest: EXTENSIONS['ext.compose-ssh']!.manifest,
    get host() {
      return running().hosts[0]!;
    },
    optional: { sessions: true, ownDeadline: true, meter: false, snapshots: true },
    listCount: 2,
  };
}
