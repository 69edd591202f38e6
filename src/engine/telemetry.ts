import { parseBackendName } from '../domain/ids.ts';
import { LIMITS } from '../domain/limits.ts';
import { printable } from '../domain/text.ts';
import { type ExecSession, ExtensionError, type HostTelemetry } from '../ports/extension.ts';
import type { TelemetryReport } from '../ports/store.ts';
import { referenceOf, type StepInput } from './step.ts';

/** Run inside a canary, in order; each must end with 0. */
const INTROSPECTION = [
  ['sh', '-c', 'id -u && id -un'],
  ['sh', '-c', 'printf canary > .sandboxer-canary && cat .sandboxer-canary && rm .sandboxer-canary'],
  ['sh', '-c', 'grep -c . /proc/net/dev'],
  ['uname', '-sr'],
] as const;

const OUTPUT_CHARACTERS = 400;
const INVENTORY_MAX = 1_000;

/** The host that the sandbox was placed on; null where the backend has no hosts, or it is not registered any more. */
export async function measureHost(input: StepInput): Promise<HostTelemetry | null> {
  const { engine, extension, record, signal } = input;
  const name = record.spec.placement.host;
  const host = name === null ? null : await engine.hosts.get(name);
  if (extension.hostTelemetry === undefined || (name !== null && host === null)) return null;
  return extension.hostTelemetry(host, signal);
}

/** The collected output of a session, bounded; the rest is read and dropped. */
export async function collectOutput(
  session: ExecSession,
  limitBytes: number,
): Promise<{ readonly stdout: string; readonly stderr: string; readonly truncated: boolean }> {
  const chunks: Record<'stdout' | 'stderr', Uint8Array[]> = { stdout: [], stderr: [] };
  let bytes = 0;
  for await (const { stream, data } of session.output) {
    if (bytes < limitBytes) chunks[stream].push(data.subarray(0, limitBytes - bytes));
    bytes += data.length;
  }
  const text = (stream: 'stdout' | 'stderr') => Buffer.concat(chunks[stream]).toString('utf8');
  return { stdout: text('stdout'), stderr: text('stderr'), truncated: bytes > limitBytes };
}

async function runInside(input: StepInput, command: readonly string[]) {
  const session = await input.extension.sessions!.exec(
    referenceOf(input.record),
    {
      command,
      environment: {},
      workingDirectory: null,
      user: 'user',
      terminal: null,
      stdin: false,
      timeoutMs: LIMITS.observationTimeoutMs,
      outputLimitBytes: LIMITS.profileFileBytes,
      detach: false,
    },
    input.signal,
  );
  const { stdout, stderr } = await collectOutput(session, LIMITS.profileFileBytes);
  const { exitCode } = await session.exit;
  if (exitCode !== 0) {
    throw new ExtensionError(
      'capacity',
      `The canary command "${command.join(' ')}" ended with ${exitCode} inside.`,
    );
  }
  return {
    command: command.join(' '),
    exit_code: exitCode,
    output: printable((stdout || stderr).trim().replaceAll('\n', ' '), OUTPUT_CHARACTERS),
  };
}

async function takeInventory(input: StepInput) {
  const inventory: { id: string; path: string; age_hours: number | null }[] = [];
  const stale: { id: string; kind: string; action: string }[] = [];
  let cursor: string | null = null;
  do {
    const page = await input.extension.list(cursor, input.signal);
    for (const item of page.items) {
      const identity = parseBackendName(item.name);
      if (identity === null || inventory.length >= INVENTORY_MAX) continue;
      const hours = item.ageMs === null ? null : Math.round(item.ageMs / 36_000) / 100;
      inventory.push({ id: identity.sandboxId, path: item.name, age_hours: hours });
      const known = await input.engine.store.getSandbox(identity.sandboxId);
      if (known === null) stale.push({ id: identity.sandboxId, kind: 'orphan_dir', action: 'reap' });
    }
    cursor = page.nextCursor;
  } while (cursor !== null && inventory.length < INVENTORY_MAX);
  return { inventory, stale };
}

/** The introspection report: what the sandbox says of itself, and what it did to its host. */
export async function collectTelemetry(input: StepInput): Promise<TelemetryReport> {
  const { engine, record } = input;
  const introspection: TelemetryReport['introspection'][number][] = [];
  if (input.extension.sessions !== undefined) {
    for (const command of INTROSPECTION) introspection.push(await runInside(input, command));
  }
  const after = await measureHost(input);
  const before = record.hostBefore;
  const { inventory, stale } = await takeInventory(input);
  return {
    schema_version: '0.1',
    host: record.spec.placement.host ?? 'localhost',
    sandbox_id: record.id,
    profile_id: record.profileId,
    collected_at: new Date(engine.clock.nowMs()).toISOString(),
    provision_delta:
      before === null || after === null
        ? null
        : {
            before,
            after,
            load_1m: Math.round((after.load_1m - before.load_1m) * 100) / 100,
            mem_available_mb: after.mem_available_mb - before.mem_available_mb,
          },
    introspection,
    inventory,
    stale_candidates: stale,
  };
}
