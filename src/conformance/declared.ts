/** What is declared is there, what is there is declared, and what cannot be honoured is refused. */
import type { Capabilities, Extension, HostTelemetry, SandboxSpec } from '../ports/extension.ts';
import { type Bench, type CaseRow, ensure, NO_ABORT } from './bench.ts';

const HOUR_MS = 3_600_000;

/** Each flag and the member that it stands for. */
const MEMBERS = {
  sessions: 'sessions',
  snapshots: 'snapshots',
  ownDeadline: 'setOwnDeadline',
  pause: 'pause',
  meter: 'meter',
  hostTelemetry: 'hostTelemetry',
  hosts: 'hostState',
} as const satisfies Partial<Record<keyof Capabilities, string>>;

export const DECLARED_CASES: readonly CaseRow[] = [
  {
    name: 'declared.flags-are-methods',
    guarantee: 'An optional interface is declared exactly when it is implemented.',
    async check(bench) {
      const capabilities = await bench.extension.capabilities();
      for (const [flag, member] of Object.entries(MEMBERS) as [keyof typeof MEMBERS, keyof Extension][]) {
        const there = bench.extension[member] !== undefined;
        ensure(
          capabilities[flag] === there,
          `capability ${flag} is ${capabilities[flag]}, but ${member} is ${there ? '' : 'not '}there`,
        );
      }
      for (const flag of ['sessions', 'ownDeadline', 'meter', 'snapshots'] as const) {
        const told = bench.harness.optional[flag] ?? false;
        ensure(
          told === capabilities[flag],
          `the harness says ${flag}: ${told}, the extension ${capabilities[flag]}`,
        );
      }
    },
  },
  {
    name: 'declared.capabilities-are-stable',
    guarantee: 'Capabilities are probed once: every later answer, of every instance, is the same.',
    async check(bench) {
      const first = JSON.stringify(await bench.extension.capabilities());
      ensure(
        first === JSON.stringify(await bench.extension.capabilities()),
        'capabilities changed between two calls',
      );
      const other = await bench.fresh();
      ensure(
        first === JSON.stringify(await other.capabilities()),
        'two instances declare different capabilities',
      );
    },
  },
  {
    name: 'declared.accepts-its-own-spec',
    guarantee:
      'validate accepts what the backend can do, and names every rule that will be held less firmly.',
    async check(bench) {
      const { degradations } = await bench.extension.validate(bench.harness.spec());
      for (const { rule, reason } of degradations)
        ensure(rule !== '' && reason !== '', 'a degradation lacks its rule or reason');
    },
  },
  {
    name: 'declared.refuses-unsupported',
    guarantee: 'What the backend cannot enforce is refused, never ignored.',
    check: checkRefusals,
  },
  {
    name: 'declared.estimate',
    guarantee: 'An estimate is in whole micro-dollars, not negative, and grows with the duration.',
    async check(bench) {
      let lastMicroUsd = 0;
      for (const durationMs of [0, 1, 60_000, HOUR_MS, 24 * HOUR_MS]) {
        const estimate = await bench.extension.estimate(bench.harness.spec(), durationMs);
        for (const amount of [estimate.priceMicroUsdPerHour, estimate.totalMicroUsd]) {
          ensure(
            Number.isSafeInteger(amount) && amount >= 0,
            `the estimate for ${durationMs} ms has ${amount}`,
          );
        }
        ensure(estimate.totalMicroUsd >= lastMicroUsd, `the estimate shrinks at ${durationMs} ms`);
        lastMicroUsd = estimate.totalMicroUsd;
      }
    },
  },
  {
    name: 'declared.health',
    guarantee: 'health answers, with a reason when it is not well.',
    async check(bench) {
      const health = await bench.within(bench.extension.health(NO_ABORT), 'health');
      ensure(health.ok, `the backend under test is not well: ${health.reason}`);
    },
  },
  {
    name: 'declared.host-telemetry',
    guarantee: 'Host telemetry, where there is any, is made of numbers that are not negative.',
    async check(bench) {
      const { extension } = bench;
      if (extension.hostTelemetry === undefined) return;
      const host = bench.harness.host ?? null;
      const telemetry = await bench.within(extension.hostTelemetry(host, NO_ABORT), 'hostTelemetry');
      for (const field of TELEMETRY_FIELDS) {
        ensure(Number.isFinite(telemetry[field]) && telemetry[field] >= 0, `${field} is ${telemetry[field]}`);
      }
    },
  },
  {
    name: 'declared.host-state',
    guarantee: 'A host that can take work says so, with a load that is a number or not known.',
    async check(bench) {
      const { extension, harness } = bench;
      if (extension.hostState === undefined) return;
      const { host } = harness;
      ensure(host !== undefined, 'the extension has hosts, and the harness names none');
      const state = await bench.within(extension.hostState(host!, NO_ABORT), 'hostState');
      ensure(state.ok, `the host under test cannot take work: ${state.reason}`);
      const { loadPerCpu } = state;
      ensure(
        loadPerCpu === null || (Number.isFinite(loadPerCpu) && loadPerCpu >= 0),
        `loadPerCpu is ${loadPerCpu}`,
      );
    },
  },
];

const TELEMETRY_FIELDS = [
  'load_1m',
  'load_5m',
  'load_15m',
  'cpu_count',
  'mem_total_mb',
  'mem_available_mb',
  'disk_root_used_pct',
  'disk_root_avail_gb',
] as const satisfies readonly (keyof HostTelemetry)[];

/** Only when a manifest is given. */
export const MANIFEST_CASE: CaseRow = {
  name: 'declared.manifest-agrees',
  guarantee: 'The manifest says what the code says; a running extension may be able to do less, never more.',
  async check(bench) {
    const { manifest } = bench.harness;
    if (manifest === undefined) return;
    for (const field of ['id', 'title', 'description'] as const) {
      ensure(manifest[field] === bench.extension[field], `${field} differs between manifest and extension`);
    }
    const real = await bench.extension.capabilities();
    const told = manifest.capabilities;
    for (const flag of Object.keys(MEMBERS) as (keyof typeof MEMBERS)[]) {
      ensure(told[flag] || !real[flag], `the manifest does not declare ${flag}, the extension does`);
    }
    const extra = real.isolationLevels.filter((level) => !told.isolationLevels.includes(level));
    ensure(extra.length === 0, `the manifest lacks the isolation levels ${extra.join(', ')}`);
    for (const field of ['persistence', 'pricingModel'] as const) {
      ensure(told[field] === real[field], `${field} differs between manifest and extension`);
    }
  },
};

async function checkRefusals(bench: Bench): Promise<void> {
  const { extension, harness } = bench;
  const capabilities = await extension.capabilities();
  const levels = ['process', 'container', 'gvisor', 'microvm', 'vm'] as const;
  for (const isolationLevel of levels.filter((level) => !capabilities.isolationLevels.includes(level))) {
    const spec = harness.spec({ isolationLevel });
    await bench.fails(() => extension.validate(spec), `validate of isolation ${isolationLevel}`, [
      'unsupported',
    ]);
  }
  const unheardOf = 'wishful' as SandboxSpec['isolationLevel'];
  const nonsense = harness.spec({ isolationLevel: unheardOf });
  await bench.fails(() => extension.validate(nonsense), 'validate of an unheard-of isolation', [
    'unsupported',
    'invalid',
  ]);
  for (const [what, spec] of ungraded(capabilities, harness.spec())) {
    await bench.fails(() => extension.validate(spec), `validate of ${what}`, ['unsupported', 'invalid']);
  }
}

/** Specs that ask for what the capabilities grade as unsupported. */
function ungraded({ network, limits }: Capabilities, base: SandboxSpec): [string, SandboxSpec][] {
  const asks: [boolean, string, SandboxSpec][] = [
    [network.deny === 'unsupported', 'network deny', { ...base, network: { default: 'deny', egress: [] } }],
    [
      network.allow === 'unsupported',
      'network allow',
      { ...base, network: { default: 'allow', egress: [] } },
    ],
    [
      network.egressList === 'unsupported',
      'an egress list',
      { ...base, network: { default: 'deny', egress: ['example.org:443'] } },
    ],
  ];
  const none = { cpu: null, memoryMb: null, processes: null, allowDegraded: false };
  asks.push(
    [limits.memory === 'unsupported', 'a memory limit', { ...base, resources: { ...none, memoryMb: 256 } }],
    [limits.cpu === 'unsupported', 'a cpu limit', { ...base, resources: { ...none, cpu: 1 } }],
    [
      limits.processes === 'unsupported',
      'a process limit',
      { ...base, resources: { ...none, processes: 64 } },
    ],
  );
  return asks.filter(([applies]) => applies).map(([, what, spec]) => [what, spec]);
}
