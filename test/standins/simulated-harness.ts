/** The simulated extension under the shared suite, over a file or over a backend process. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystemClock } from '../../src/adapters/clock/system-clock.ts';
import { SYSTEM_ENTROPY } from '../../src/adapters/entropy/system-entropy.ts';
import { type ConformanceHarness, newConformanceName } from '../../src/conformance/suite.ts';
import type { FaultRuleInput } from '../../src/extensions/simulated/config.ts';
import { createExtension } from '../../src/extensions/simulated/extension.ts';
import type { Extension, ExtensionContext, SandboxSpec } from '../../src/ports/extension.ts';
import { parseManifest } from '../../src/ports/manifest.ts';
import { NO_HOSTS } from './no-hosts.ts';
import { setFaults } from './simulated-backend.ts';
import { readSimulatedTruth } from './simulated-truth.ts';

const MANIFEST_FILE = join(import.meta.dirname, '../../src/extensions/simulated/manifest.yaml');

export interface SimulatedHarness extends ConformanceHarness {
  readonly directory: string;
  setFaults(rules: readonly FaultRuleInput[]): void;
}

/** A random name in our name space. */
export function newName(): string {
  return newConformanceName(SYSTEM_ENTROPY);
}

const TEMPORARY = join(tmpdir(), `sandboxer-simulated-${process.getuid?.() ?? 0}`);
const TEMPORARY_LIFE_MS = 10 * 60_000;
let swept = false;

/** A directory for one test. Test workers are killed without a word, so what earlier runs left is removed first. */
export function temporaryDirectory(): string {
  mkdirSync(TEMPORARY, { recursive: true, mode: 0o700 });
  for (const entry of swept ? [] : readdirSync(TEMPORARY)) {
    const path = join(TEMPORARY, entry);
    const madeAtMs = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    if (Date.now() - madeAtMs > TEMPORARY_LIFE_MS) rmSync(path, { recursive: true, force: true });
  }
  swept = true;
  return mkdtempSync(join(TEMPORARY, 'run-'));
}

export function simulatedContext(
  directory: string,
  environment: Readonly<Record<string, string>> = {},
): ExtensionContext {
  return {
    directory,
    secret: SYSTEM_ENTROPY.bytes(32),
    clock: createSystemClock(),
    entropy: SYSTEM_ENTROPY,
    environment,
    hosts: NO_HOSTS,
  };
}

export function simulatedSpec(overrides: Partial<SandboxSpec> = {}): SandboxSpec {
  return {
    isolationLevel: 'process',
    network: { default: 'deny', egress: [] },
    resources: { cpu: null, memoryMb: null, processes: null, allowDegraded: false },
    inputs: {},
    placement: { host: null },
    configuration: {},
    ...overrides,
  };
}

/** `environment` may name the socket of a backend process that works in `directory`. */
export function simulatedHarness(
  directory: string,
  environment: Readonly<Record<string, string>> = {},
  wrap: (extension: Extension) => Extension = (extension) => extension,
): SimulatedHarness {
  const once = (verb: FaultRuleInput['verb'], kind: FaultRuleInput['kind']) => async () => {
    setFaults(directory, [{ verb, kind, times: 1 }]);
  };
  const context = simulatedContext(directory, { SANDBOXER_SIMULATED_TIMEOUT_MS: '2000', ...environment });
  return {
    directory,
    setFaults: (rules) => setFaults(directory, rules),
    create: async () => wrap(await createExtension(context)),
    spec: simulatedSpec,
    newName,
    clock: createSystemClock(),
    timings: {
      readyWithinMs: 2_000,
      goneWithinMs: 2_000,
      callWithinMs: 5_000,
      shortDeadlineMs: 1_000,
      pollMs: 10,
    },
    truth: {
      async exists(name) {
        const truth = readSimulatedTruth(directory);
        try {
          return truth.exists(name);
        } finally {
          truth.close();
        }
      },
    },
    faults: {
      loseNextProvisionAnswer: once('provision', 'reset_after'),
      failNextObserve: once('observe', 'error_before'),
      failNextList: once('list', 'truncated_body'),
      shortenNextList: once('list', 'list_page_missing'),
      showForeignThings: once('list', 'list_other_tenants'),
    },
    manifest: parseManifest(readFileSync(MANIFEST_FILE, 'utf8'), MANIFEST_FILE),
    optional: { sessions: true, ownDeadline: true, meter: true },
    listCount: 120,
  };
}
