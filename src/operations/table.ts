/**
 * THE operation table. HTTP routes, commands, the library's calls, OpenAPI, the reference pages, and the
 * permission and parity tests are derived from it.
 */
import { readArchive, writeArchive } from './archives.ts';
import { extensionsList, profilesList, profilesShow, profilesValidate, routeExplain } from './catalog.ts';
import { create } from './create.ts';
import { sandboxEvents } from './events.ts';
import { hostsAdd, hostsCheck, hostsDrain, hostsList, hostsRemove } from './hosts.ts';
import { destroy, expire, extendTtl, recreate } from './lifetime.ts';
import type { Operation } from './operation.ts';
import { doctor, inspectHost, inspectStale, reapStale, version } from './operator.ts';
import { restore } from './restore.ts';
import { activate, get, list, reachability } from './sandboxes.ts';
import { execute, listFiles, logs, openPort, readFile, writeFile } from './sessions.ts';
import { snapshot, snapshotsDelete, snapshotsGet, snapshotsList } from './snapshots.ts';
import { tokensCreate, tokensList, tokensRevoke } from './tokens.ts';

export const OPERATIONS = {
  create,
  get,
  list,
  destroy,
  recreate,
  extend_ttl: extendTtl,
  expire,
  activate,
  reachability,
  exec: execute,
  read_file: readFile,
  write_file: writeFile,
  list_files: listFiles,
  read_archive: readArchive,
  write_archive: writeArchive,
  logs,
  open_port: openPort,
  events: sandboxEvents,
  profiles_list: profilesList,
  profiles_show: profilesShow,
  profiles_validate: profilesValidate,
  extensions_list: extensionsList,
  route_explain: routeExplain,
  snapshot,
  restore,
  snapshots_list: snapshotsList,
  snapshots_get: snapshotsGet,
  snapshots_delete: snapshotsDelete,
  hosts_list: hostsList,
  hosts_add: hostsAdd,
  hosts_check: hostsCheck,
  hosts_remove: hostsRemove,
  hosts_drain: hostsDrain,
  inspect_host: inspectHost,
  inspect_stale: inspectStale,
  reap_stale: reapStale,
  tokens_create: tokensCreate,
  tokens_list: tokensList,
  tokens_revoke: tokensRevoke,
  doctor,
  version,
} as const;

export type OperationName = keyof typeof OPERATIONS;

export const OPERATION_LIST: readonly Operation[] = Object.values(
  OPERATIONS,
) as unknown as readonly Operation[];
