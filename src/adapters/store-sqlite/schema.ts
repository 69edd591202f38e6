import type { DatabaseSync } from 'node:sqlite';
import { SandboxerError } from '../../domain/errors.ts';

/** Each entry moves the schema one version on; entries are never edited once released. */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE sandbox (
    ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    project TEXT NOT NULL,
    actor TEXT NOT NULL,
    run_id TEXT,
    profile_id TEXT NOT NULL,
    state TEXT NOT NULL,
    has_run INTEGER NOT NULL,
    is_live INTEGER NOT NULL,
    due_at_ms INTEGER,
    document TEXT NOT NULL
  );
  CREATE INDEX sandbox_by_project ON sandbox (project, ordinal);
  CREATE INDEX sandbox_by_state ON sandbox (state, ordinal);
  CREATE INDEX sandbox_by_profile ON sandbox (profile_id, ordinal);
  CREATE INDEX sandbox_due ON sandbox (due_at_ms) WHERE due_at_ms IS NOT NULL;
  CREATE INDEX sandbox_with_run ON sandbox (ordinal) WHERE has_run = 1;
  CREATE INDEX sandbox_live ON sandbox (id) WHERE is_live = 1 AND has_run = 0;

  CREATE TABLE sandbox_label (
    sandbox_id TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (sandbox_id, key)
  ) WITHOUT ROWID;

  CREATE TABLE event (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    sandbox_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    type TEXT NOT NULL,
    state TEXT NOT NULL,
    detail TEXT NOT NULL
  );
  CREATE UNIQUE INDEX event_by_sandbox ON event (sandbox_id, sequence);

  CREATE TABLE slot (scope TEXT PRIMARY KEY, used INTEGER NOT NULL CHECK (used >= 0)) WITHOUT ROWID;

  CREATE TABLE idempotency (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    sandbox_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    response TEXT,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
  ) WITHOUT ROWID;
  CREATE INDEX idempotency_by_age ON idempotency (created_at_ms);

  CREATE TABLE token (
    id TEXT PRIMARY KEY,
    hash TEXT NOT NULL,
    name TEXT NOT NULL,
    project TEXT,
    scopes TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER
  ) WITHOUT ROWID;

  CREATE TABLE stray (
    extension_id TEXT NOT NULL,
    name TEXT NOT NULL,
    first_seen_at_ms INTEGER NOT NULL,
    PRIMARY KEY (extension_id, name)
  ) WITHOUT ROWID;
  `,
  // Hosts. Placement became an extension and a host; until then no backend had hosts.
  `
  CREATE TABLE host (name TEXT PRIMARY KEY, origin TEXT NOT NULL, document TEXT NOT NULL) WITHOUT ROWID;

  UPDATE sandbox SET document = json_set(
    document,
    '$.spec.placement.host', NULL,
    '$.route.candidates',
    (SELECT json_group_array(json_set(value, '$.host', NULL)) FROM json_each(document, '$.route.candidates'))
  );
  UPDATE sandbox SET document = json_set(
    document, '$.run.argument.next_venue', json_extract(document, '$.run.argument.next_extension_id')
  ) WHERE json_extract(document, '$.run.argument.next_extension_id') IS NOT NULL;
  `,
  // Snapshots. Until then no sandbox was restored from one.
  `
  CREATE TABLE snapshot (
    ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    document TEXT NOT NULL
  );
  CREATE INDEX snapshot_by_project ON snapshot (project, ordinal);
  CREATE INDEX snapshot_by_expiry ON snapshot (expires_at_ms);

  UPDATE sandbox SET document = json_set(document, '$.restoredFrom', NULL);
  `,
  // The pair that lists are filtered by most: tokens see one project, people ask for a state.
  `
  CREATE INDEX sandbox_by_project_state ON sandbox (project, state, ordinal);
  `,
  // Snapshots that build on others. One that was deleted while others build on it is withdrawn until they are gone.
  `
  ALTER TABLE snapshot ADD COLUMN sandbox_id TEXT;
  ALTER TABLE snapshot ADD COLUMN based_on TEXT;
  ALTER TABLE snapshot ADD COLUMN is_withdrawn INTEGER NOT NULL DEFAULT 0;
  UPDATE snapshot SET sandbox_id = json_extract(document, '$.manifest.sandbox_id');
  CREATE INDEX snapshot_by_sandbox ON snapshot (sandbox_id, ordinal) WHERE based_on IS NULL;
  CREATE INDEX snapshot_by_base ON snapshot (based_on, ordinal) WHERE based_on IS NOT NULL;
  DROP INDEX snapshot_by_expiry;
  CREATE INDEX snapshot_by_expiry ON snapshot (expires_at_ms) WHERE is_withdrawn = 0;
  `,
  // The number of the last entry of the journal whose statements are in the tables.
  `
  CREATE TABLE journal (last INTEGER NOT NULL);
  INSERT INTO journal VALUES (0);
  `,
];

export const SCHEMA_VERSION = MIGRATIONS.length;
const JOURNAL_SINCE_VERSION = 6;

/**
 * Brings the database to `SCHEMA_VERSION`; refuses one that a newer release wrote. `recover` brings it up to date before
 * that, in the version that it has, with the number of the last entry of the journal that it has seen. Safe to repeat.
 */
export function migrate(database: DatabaseSync, recover: (last: number) => void = () => undefined): void {
  const row = database.prepare('PRAGMA user_version').get();
  const found = Number(row?.user_version ?? 0);
  if (found > SCHEMA_VERSION) {
    throw new SandboxerError(
      'store_newer',
      `The store has schema version ${found}; this release knows versions up to ${SCHEMA_VERSION}.`,
      { nextStep: 'Upgrade sand-boxer, or name another directory in SANDBOXER_HOME.' },
    );
  }
  if (found >= JOURNAL_SINCE_VERSION) {
    recover(Number(database.prepare('SELECT last FROM journal').get()?.last));
  }
  for (let version = found; version < SCHEMA_VERSION; version += 1) {
    database.exec(`BEGIN IMMEDIATE; ${MIGRATIONS[version]} PRAGMA user_version = ${version + 1}; COMMIT;`);
  }
}
