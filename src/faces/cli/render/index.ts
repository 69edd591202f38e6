/** What a person sees for each operation's answer; an operation without a renderer shows its JSON. */
import type { CallName, CallOutput } from '../../library/transport.ts';
import { extensionsList, profileShown, profilesList, profileValid, routeExplained } from './catalog.ts';
import { hostCard, hostRemoved, hostReport, hostsChecked, hostsList } from './hosts.ts';
import type { Look } from './look.ts';
import {
  doctorReport,
  expiryReport,
  reachabilityShown,
  sweepReport,
  tokenCreated,
  tokenRevoked,
  tokensList,
} from './operator.ts';
import { card, sandboxList } from './sandbox.ts';
import { snapshotCard, snapshotDeleted, snapshotsList } from './snapshots.ts';

type Renderers = { readonly [Name in CallName]?: (answer: CallOutput<Name>, look: Look) => string };

const RENDERERS: Renderers = {
  create: card,
  get: card,
  list: sandboxList,
  destroy: card,
  recreate: card,
  extend_ttl: card,
  activate: card,
  expire: expiryReport,
  reachability: reachabilityShown,
  profiles_list: profilesList,
  profiles_show: profileShown,
  profiles_validate: profileValid,
  extensions_list: extensionsList,
  route_explain: routeExplained,
  snapshot: snapshotCard,
  restore: card,
  snapshots_list: snapshotsList,
  snapshots_get: snapshotCard,
  snapshots_delete: snapshotDeleted,
  hosts_list: hostsList,
  hosts_add: hostCard,
  hosts_check: hostsChecked,
  hosts_remove: hostRemoved,
  hosts_drain: hostCard,
  inspect_host: hostReport,
  inspect_stale: sweepReport,
  reap_stale: sweepReport,
  tokens_create: tokenCreated,
  tokens_list: tokensList,
  tokens_revoke: tokenRevoked,
  doctor: doctorReport,
};

export function render(operation: string, answer: unknown, look: Look): string {
  const renderer = (RENDERERS as Readonly<Record<string, (answer: unknown, look: Look) => string>>)[
    operation
  ];
  return renderer === undefined ? `${JSON.stringify(answer, null, 2)}\n` : renderer(answer, look);
}
