import type { SQLInputValue } from 'node:sqlite';
import { LIVE_STATES, type SandboxState } from '../../domain/sandbox/lifecycle.ts';
import type { StoredHost } from '../../ports/host-directory.ts';
import type { SnapshotRecord } from '../../ports/snapshot-archives.ts';
import type {
  EventRecord,
  IdempotencyRecord,
  SandboxQuery,
  SandboxRecord,
  StrayRecord,
  TokenRecord,
} from '../../ports/store.ts';
import type { Parameter, Row } from './connection.ts';

/** The document holds the whole record; the columns are what is searched by. */
export function sandboxFromRow(row: Row): SandboxRecord {
  return JSON.parse(String(row.document)) as SandboxRecord;
}

/** The columns that never change, and then those of `stateColumns`. */
export function sandboxColumns(record: SandboxRecord): readonly Parameter[] {
  const { project, actor, run_id: runId } = record.consumer;
  return [project, actor, runId, record.profileId, ...stateColumns(record)];
}

/** An index on any column that is set is written anew, whether its value changes or not; so only these are. */
export function stateColumns(record: SandboxRecord): readonly Parameter[] {
  return [
    record.version,
    record.state,
    record.run === null ? 0 : 1,
    LIVE_STATES.includes(record.state) ? 1 : 0,
    record.dueAtMs,
    JSON.stringify(record),
  ];
}

export function eventFromRow(row: Row): EventRecord {
  return {
    sandboxId: String(row.sandbox_id),
    sequence: Number(row.sequence),
    position: Number(row.position),
    atMs: Number(row.at_ms),
    type: String(row.type) as EventRecord['type'],
    state: String(row.state) as SandboxState,
    detail: JSON.parse(String(row.detail)) as EventRecord['detail'],
  };
}

export function idempotencyFromRow(row: Row): IdempotencyRecord {
  return {
    scope: String(row.scope),
    key: String(row.key),
    requestHash: String(row.request_hash),
    sandboxId: String(row.sandbox_id),
    runId: String(row.run_id),
    response: row.response === null ? null : String(row.response),
    createdAtMs: Number(row.created_at_ms),
  };
}

export function tokenFromRow(row: Row): TokenRecord {
  return {
    id: String(row.id),
    hash: String(row.hash),
    name: String(row.name),
    project: row.project === null ? null : String(row.project),
    scopes: JSON.parse(String(row.scopes)) as string[],
    createdAtMs: Number(row.created_at_ms),
    revokedAtMs: row.revoked_at_ms === null ? null : Number(row.revoked_at_ms),
  };
}

export function strayFromRow(row: Row): StrayRecord {
  return {
    extensionId: String(row.extension_id),
    name: String(row.name),
    firstSeenAtMs: Number(row.first_seen_at_ms),
  };
}

export function hostFromRow(row: Row): StoredHost {
  return {
    host: JSON.parse(String(row.document)) as StoredHost['host'],
    origin: String(row.origin) as StoredHost['origin'],
  };
}

export function snapshotFromRow(row: Row): SnapshotRecord {
  return JSON.parse(String(row.document)) as SnapshotRecord;
}

/** The filter of a list as SQL; every value travels as a parameter. */
export function listStatement(query: SandboxQuery): { sql: string; parameters: SQLInputValue[] } {
  const conditions: string[] = [];
  const parameters: SQLInputValue[] = [];
  const where = (condition: string, ...values: SQLInputValue[]) => {
    conditions.push(condition);
    parameters.push(...values);
  };
  if (query.project !== null) where('project = ?', query.project);
  if (query.actor !== undefined) where('actor = ?', query.actor);
  if (query.runId !== undefined) where('run_id = ?', query.runId);
  if (query.profileId !== undefined) where('profile_id = ?', query.profileId);
  if (query.states !== undefined) {
    where(`state IN (${query.states.map(() => '?').join(', ')})`, ...query.states);
  }
  if (query.label !== undefined) {
    where(
      'EXISTS (SELECT 1 FROM sandbox_label WHERE sandbox_id = id AND key = ? AND value = ?)',
      query.label.key,
      query.label.value,
    );
  }
  if (query.cursor !== null) where('ordinal < ?', Number(query.cursor));
  const filter = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
  parameters.push(query.limit + 1);
  return {
    sql: `SELECT ordinal, id, version, document FROM sandbox ${filter} ORDER BY ordinal DESC LIMIT ?`,
    parameters,
  };
}
