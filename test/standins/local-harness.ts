import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystemClock } from '../../src/adapters/clock/system-clock.ts';
import { SYSTEM_ENTROPY } from '../../src/adapters/entropy/system-entropy.ts';
import { type ConformanceHarness, newConformanceName } from '../../src/conformance/suite.ts';
import { createExtension } from '../../src/extensions/local/extension.ts';
import { EXTENSIONS } from '../../src/extensions/registry.gen.ts';
import type { ExtensionContext, SandboxSpec } from '../../src/ports/extension.ts';

import { NO_HOSTS } from './no-hosts.ts';

const SPEC: SandboxSpec = {
  isolationLevel: 'process',
  network: { default: 'deny', egress: [] },
  resources: { cpu: null, memoryMb: null, processes: null, allowDegraded: false },
  inputs: {},
  placement: { host: null },
  configuration: {},
};

export function localSpec(overrides: Partial<SandboxSpec> = {}): SandboxSpec {
  return { ...SPEC, ...overrides };
}

/** A directory of its own for a test file; `remove` when no sandbox is left in it. */
export function localDirectory(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'sbx-local-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export function localContext(
  directory: string,
  environment: ExtensionContext['environment'] = {},
): ExtensionContext {
  return {
    directory,
    secret: new Uint8Array(32).fill(7),
    clock: createSystemClock(),
    entropy: SYSTEM_ENTROPY,
    environment: { PATH: process.env.PATH, ...environment },
    hosts: NO_HOSTS,
  };
}

export function newLocalName(): string {
  return newConformanceName(SYSTEM_ENTROPY);
}

export function localHarness(directory: string): ConformanceHarness {
  return {
    create: () => createExtension(localContext(directory)),
    spec: localSpec,
    newName: newLocalName,
    clock: createSystemClock(),
    timings: { readyWithinMs: 5_000, goneWithinMs: 5_000, pollMs: 5 },
    truth: { exists: async (name) => existsSync(join(directory, 'boxes', name)) },
    manifest: EXTENSIONS['ext.local']!.manifest,
    optional: { sessions: true, ownDeadline: true, meter: false, snapshots: true },
  };
}
