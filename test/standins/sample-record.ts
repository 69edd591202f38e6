import { SYSTEM_ENTROPY } from '../../src/adapters/entropy/system-entropy.ts';
import { sandboxId } from '../../src/domain/ids.ts';
import type { SnapshotRecord } from '../../src/ports/snapshot-archives.ts';
import type { SandboxRecord } from '../../src/ports/store.ts';

/** A ready sandbox with a random id. */
export function sampleRecord(change: Partial<SandboxRecord> = {}): SandboxRecord {
  return {
    id: sandboxId(SYSTEM_ENTROPY.bytes(10)),
    version: 1,
    epoch: 1,
    consumer: { actor: 'adm', project: 'default', run_id: null },
    labels: {},
    profileId: 'profile.local',
    profileVersion: '1.0.0',
    extensionId: 'ext.local',
    state: 'ready',
    desired: 'present',
    observed: null,
    run: null,
    spec: {
      isolationLevel: 'process',
      network: { default: 'deny', egress: [] },
      resources: { cpu: null, memoryMb: null, processes: null, allowDegraded: false },
      inputs: {},
      placement: { host: null },
      configuration: {},
    },
    restoredFrom: null,
    handle: null,
    route: { strategy: 'explicit', order: ['ext.local'], candidates: [] },
    degradations: [],
    reachability: null,
    telemetry: null,
    wantsTelemetry: false,
    hostBefore: null,
    failure: null,
    lastRunFailure: null,
    attention: null,
    slot: null,
    estimateMicroUsd: 0,
    actualMicroUsd: 0,
    ttlMs: 3_600_000,
    ttlMaxMs: 86_400_000,
    idleReapMs: null,
    createdAtMs: 1,
    updatedAtMs: 1,
    readyAtMs: 1,
    expiresAtMs: 3_600_001,
    hardCapAtMs: 90_000_000,
    lastGrant: null,
    lastActivityAtMs: 1,
    dueAtMs: 3_600_001,
    eventSequence: 0,
    ...change,
  };
}

/** Of an empty workspace. */
export function sampleSnapshot(number: number, change: Partial<SnapshotRecord> = {}): SnapshotRecord {
  const id = `snap-${String(number).padStart(12, '0')}`;
  return {
    id,
    project: 'default',
    createdAtMs: 0,
    expiresAtMs: 1,
    fileBytes: 0,
    sha256: '',
    sums: { parts: [{ entries: 1, bytes: 0, left_out: [] }] },
    manifest: {
      format: 1,
      snapshot_id: id,
      sandbox_id: 'sandbox',
      profile_id: 'profile.local',
      profile_version: '1.0.0',
      extension_id: 'ext.local',
      engine: 'test',
      created_at: '2026-01-01T00:00:00.000Z',
      inputs: {},
      withheld_inputs: [],
      services: [],
      parts: [{ kind: 'workspace' }],
      not_captured: [],
    },
    ...change,
  };
}
