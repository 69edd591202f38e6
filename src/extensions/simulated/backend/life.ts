/** The calls about things as a whole: make, look, list, stop, move the deadline, charge. */
import { z } from 'zod';
import { base32 } from '../../../domain/ids.ts';
import type { Entropy } from '../../../ports/entropy.ts';
import { type FaultKind, FaultRulesSchema } from '../config.ts';
import type { WireReply, WireRequest, WireThing } from '../wire.ts';
import { addThingRules, type Struck } from './faults.ts';
import { json, problem } from './replies.ts';
import { chargedMs, describe, lagMs, living, type ThingRow } from './thing.ts';
import type { Truth } from './truth.ts';

const ID_BYTES = 12;
const PAGE_SIZE = 100;
const RETENTION_MS = 30 * 86_400_000;
const DEFAULT_FAULT_MS = 2_000;
const STALE_FAULT_MS = 60_000;
const HOUR_MS = 3_600_000;

export interface Call {
  readonly truth: Truth;
  readonly entropy: Entropy;
  readonly request: WireRequest;
  readonly struck: Struck;
  readonly nowMs: number;
}

const ProvisionBodySchema = z.object({
  tags: z.record(z.string(), z.string()),
  spec: z.record(z.string(), z.unknown()),
  faults: FaultRulesSchema,
  startMs: z.number().min(0),
  stopMs: z.number().min(0),
  priceMicroUsdPerHour: z.int().min(0),
  ownDeadlineMs: z.number(),
  ownDeadlineCapMs: z.number(),
});
type ProvisionBody = z.output<typeof ProvisionBodySchema>;

/** The delay of a fault that struck, or null. */
function delay(call: Call, kind: FaultKind, otherwise = DEFAULT_FAULT_MS): number | null {
  const rule = call.struck.get(kind);
  return rule === undefined ? null : (rule.delayMs ?? otherwise);
}

/** Brings the rules of a new thing in, before the faults of its own making are drawn. */
export function registerRules(truth: Truth, request: WireRequest): void {
  const faults = FaultRulesSchema.safeParse(request.body.faults ?? []);
  if (request.name !== null && faults.success) addThingRules(truth, request.name, faults.data);
}

export function provision(call: Call): WireReply {
  const { truth, request, nowMs, struck } = call;
  const body = ProvisionBodySchema.safeParse(request.body);
  const { name, epoch } = request;
  if (!body.success || name === null || epoch === null)
    return problem(400, 'invalid', 'not a request to provision');
  if (struck.has('false_success')) return json(201, { id: newId(call), name, epoch });
  const same = living(truth, name, null, nowMs).at(-1);
  if (same !== undefined) {
    if (same.epoch !== epoch) return problem(409, 'name_taken', `there is already a thing called ${name}`);
    return json(200, { id: same.id, name, epoch });
  }
  truth.run('DELETE FROM things WHERE deadline_at_ms < ?', nowMs - RETENTION_MS);
  if (struck.has('two_under_one_name')) insertThing(call, body.data, newId(call));
  const reused = struck.has('id_reused') ? recentId(call) : null;
  const id = insertThing(call, body.data, reused ?? newId(call));
  return json(201, { id, name, epoch });
}

function newId(call: Call): string {
  return `sim-${base32(call.entropy.bytes(ID_BYTES))}`;
}

function recentId({ truth }: Call): string | null {
  return truth.get<{ id: string }>('SELECT id FROM things ORDER BY sequence DESC LIMIT 1')?.id ?? null;
}

function insertThing(call: Call, body: ProvisionBody, id: string): string {
  const { truth, request, struck, nowMs } = call;
  const madeAtMs = nowMs + (delay(call, 'late_provision') ?? 0);
  const readyAtMs = struck.has('accepted_forever') ? null : madeAtMs + body.startMs;
  const dies = struck.has('dies_at_once') ? 0 : delay(call, 'dies_later');
  const lifeMs = Math.max(0, Math.min(body.ownDeadlineMs, body.ownDeadlineCapMs));
  const ownLifeMs = struck.has('early_own_ttl') ? delay(call, 'early_own_ttl', lifeMs / 2)! : lifeMs;
  truth.run(
    `INSERT INTO things(id, name, epoch, tags, spec, price_micro_usd_per_hour, stop_ms, made_at_ms, visible_at_ms,
     tags_visible_at_ms, ready_at_ms, dies_at_ms, deadline_at_ms, cap_at_ms, stop_at_ms, gone_at_ms, used_at_ms)
     VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?)`,
    id,
    request.name,
    request.epoch,
    JSON.stringify(struck.has('tags_lost') ? {} : body.tags),
    JSON.stringify(body.spec),
    body.priceMicroUsdPerHour * (struck.get('price_change')?.factor ?? 1),
    body.stopMs,
    madeAtMs,
    madeAtMs + (delay(call, 'eventual') ?? 0),
    madeAtMs + (delay(call, 'tags_late') ?? 0),
    readyAtMs,
    dies === null ? null : madeAtMs + dies,
    nowMs + ownLifeMs,
    nowMs + Math.max(0, body.ownDeadlineCapMs),
    madeAtMs,
  );
  return id;
}

export function observe(call: Call): WireReply {
  const { truth, request, nowMs } = call;
  const asOfMs = nowMs - (delay(call, 'observe_stale', STALE_FAULT_MS) ?? 0);
  const items = living(truth, request.name ?? '', request.epoch, asOfMs)
    .filter((row) => row.visible_at_ms <= asOfMs)
    .map((row) => describe(truth, row, asOfMs, nowMs));
  return json(200, { items, lagMs: Math.max(lagMs(truth, nowMs), nowMs - asOfMs) });
}

export function list(call: Call): WireReply {
  const { truth, request, struck, nowMs } = call;
  const asOfMs = nowMs - (delay(call, 'list_stale', STALE_FAULT_MS) ?? 0);
  const after = Number(request.body.cursor ?? 0);
  if (!Number.isSafeInteger(after)) return problem(400, 'invalid', 'not a cursor of ours');
  const condition =
    'deadline_at_ms > ?1 AND (gone_at_ms IS NULL OR gone_at_ms > ?1) AND made_at_ms <= ?1 AND visible_at_ms <= ?1';
  const rows = truth.all<ThingRow>(
    `SELECT * FROM things INDEXED BY things_by_end WHERE ${condition} AND sequence > ?2 ORDER BY sequence LIMIT ?3`,
    asOfMs,
    after,
    PAGE_SIZE,
  );
  const count = truth.get<{ total: number }>(
    `SELECT count(*) AS total FROM things INDEXED BY things_by_end WHERE ${condition}`,
    asOfMs,
  );
  let items = rows.map((row) => describe(truth, row, asOfMs, nowMs));
  let total = count?.total ?? 0;
  if (struck.has('list_flapping')) {
    total -= items.length;
    items = items.filter((_item, index) => index % 2 === 1);
    total += items.length;
  }
  if (struck.has('list_page_missing')) items = [];
  if (struck.has('list_other_tenants')) {
    items = [...items, ...foreigners(nowMs)];
    total += foreigners(nowMs).length;
  }
  const last = rows.length === PAGE_SIZE ? String(rows.at(-1)!.sequence) : null;
  return json(200, { items, next: struck.has('list_loop') ? String(after) : last, total });
}

/** Things of other people in the same account: names that are not ours, and one that looks like ours. */
function foreigners(nowMs: number): WireThing[] {
  const names = ['web-1', 'sbx-', 'sbx-UPPER00000', 'sbx-0000000000-e0', 'xsbx-0000000000', 'sbx-0ther00000'];
  return names.map((name, index) => ({
    id: `foreign-${index}`,
    name,
    epoch: 1,
    tags: { owner: 'somebody-else' },
    state: 'running',
    detail: null,
    ageMs: nowMs,
    commandsRunning: 0,
    idleMs: 0,
  }));
}

/** Stops what is called so; `body.id` narrows it to one. What is already stopping keeps its end. */
export function destroy(call: Call): WireReply {
  const { truth, request, struck, nowMs } = call;
  const rows = living(truth, request.name ?? '', request.epoch, nowMs).filter(
    (row) => request.body.id === undefined || row.id === request.body.id,
  );
  if (struck.has('destroy_lies')) return json(200, {});
  for (const row of rows) {
    if (row.stop_at_ms !== null && row.gone_at_ms !== null) continue;
    const goneAtMs = struck.has('stuck_destroying') ? null : nowMs + row.stop_ms;
    // the deadline moves along, so that its index leads past what is gone
    truth.run(
      'UPDATE things SET stop_at_ms = ?, gone_at_ms = ?, deadline_at_ms = ? WHERE sequence = ?',
      nowMs,
      goneAtMs,
      Math.min(row.deadline_at_ms, goneAtMs ?? row.deadline_at_ms),
      row.sequence,
    );
    for (const table of ['execs', 'files', 'logs'])
      truth.run(`DELETE FROM ${table} WHERE sequence = ?`, row.sequence);
    const returnsMs = delay(call, 'resurrects');
    if (returnsMs !== null && goneAtMs !== null) comeBack(truth, row, goneAtMs + returnsMs);
  }
  return json(
    rows.length === 0 ? 404 : 200,
    rows.length === 0 ? { code: 'not_found', message: 'nothing there' } : {},
  );
}

function comeBack(truth: Truth, row: ThingRow, atMs: number): void {
  truth.run(
    `INSERT INTO things(id, name, epoch, tags, spec, price_micro_usd_per_hour, stop_ms, made_at_ms, visible_at_ms,
     tags_visible_at_ms, ready_at_ms, dies_at_ms, deadline_at_ms, cap_at_ms, stop_at_ms, gone_at_ms, used_at_ms)
     SELECT id, name, epoch, tags, spec, price_micro_usd_per_hour, stop_ms, ?1, ?1, ?1, ?1, NULL, ?3,
     cap_at_ms, NULL, NULL, ?1 FROM things WHERE sequence = ?2`,
    atMs,
    row.sequence,
    row.deadline_at_ms,
  );
}

export function setOwnDeadline(call: Call): WireReply {
  const { truth, request, struck, nowMs } = call;
  const remainingMs = Number(request.body.remainingMs);
  const rows = living(truth, request.name ?? '', request.epoch, nowMs);
  if (!Number.isFinite(remainingMs) || remainingMs < 0) return problem(400, 'invalid', 'not a deadline');
  if (rows.length === 0) return problem(404, 'not_found', 'nothing there');
  const deadlineAtMs = Math.min(nowMs + remainingMs, ...rows.map((row) => row.cap_at_ms));
  if (!struck.has('false_success')) {
    for (const row of rows) {
      truth.run('UPDATE things SET deadline_at_ms = ? WHERE sequence = ?', deadlineAtMs, row.sequence);
    }
  }
  return json(200, { grantedMs: Math.max(0, deadlineAtMs - nowMs) });
}

/** What everything that was ever called so has used, alive or gone. */
export function meter(call: Call): WireReply {
  const { truth, request, nowMs } = call;
  const rows = truth.all<ThingRow>(
    'SELECT * FROM things WHERE name = ? AND epoch = ?',
    request.name ?? '',
    request.epoch ?? 0,
  );
  const asOfMs = nowMs - (delay(call, 'usage_late', STALE_FAULT_MS) ?? 0);
  let usedMs = 0;
  let costMicroUsd = 0;
  for (const row of rows) {
    usedMs += chargedMs(row, asOfMs);
    costMicroUsd += Math.round((chargedMs(row, asOfMs) * row.price_micro_usd_per_hour) / HOUR_MS);
  }
  if (call.struck.has('usage_negative'))
    return json(200, { seconds: -1 - usedMs / 1_000, costMicroUsd: -1 - costMicroUsd });
  return json(200, { seconds: usedMs / 1_000, costMicroUsd });
}
