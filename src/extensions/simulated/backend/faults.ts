/** Which faults strike a call. Rules and their counters live in the truth, so a restart forgets none. */
import type { FaultKind, FaultRule } from '../config.ts';
import type { WireVerb } from '../wire.ts';
import type { Truth } from './truth.ts';

interface RuleRow {
  readonly id: string;
  readonly source: string;
  readonly rule: string;
  readonly calls: number;
  readonly injected: number;
}

/** The rules that struck, by kind. */
export type Struck = ReadonlyMap<FaultKind, FaultRule>;

const SEED_KEY = 'seed';

export function setSeed(truth: Truth, seed: number): void {
  truth.setMeta(SEED_KEY, String(seed >>> 0));
}

/** Mulberry32: small, seeded, and its state is kept in the truth. */
function draw(truth: Truth): number {
  const state = (Number(truth.meta(SEED_KEY) ?? 1) + 0x6d2b79f5) >>> 0;
  truth.setMeta(SEED_KEY, String(state));
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
}

/** Replaces every rule of `source`. The counters of what was injected before stay. */
export function replaceRules(truth: Truth, source: string, rules: readonly FaultRule[]): void {
  truth.transaction(() => {
    truth.run('DELETE FROM rules WHERE source = ?', source);
    for (const [index, rule] of rules.entries()) addRule(truth, source, `${source}#${index}`, rule);
  });
}

/** The rules that one thing brings along; asking again for the same thing does not start them anew. */
export function addThingRules(truth: Truth, name: string, rules: readonly FaultRule[]): void {
  for (const [index, rule] of rules.entries()) {
    addRule(truth, 'thing', `thing:${name}#${index}`, { ...rule, name: rule.name ?? name });
  }
}

function addRule(truth: Truth, source: string, id: string, rule: FaultRule): void {
  truth.run(
    'INSERT OR IGNORE INTO rules(id, source, verb, name, rule) VALUES(?, ?, ?, ?, ?)',
    id,
    source,
    rule.verb,
    rule.name,
    JSON.stringify(rule),
  );
}

/** Counts the call and draws what strikes it. Must run inside the call's transaction. */
export function strike(truth: Truth, verb: WireVerb, name: string | null): Struck {
  const struck = new Map<FaultKind, FaultRule>();
  if (verb === 'renew') return struck;
  truth.run('INSERT INTO calls VALUES(?, 1) ON CONFLICT(verb) DO UPDATE SET count = count + 1', verb);
  const rows = truth.all<RuleRow>(
    `SELECT * FROM rules WHERE (verb = ?1 OR verb = 'any')
     AND (name IS NULL OR name = ?2 OR (?2 IS NULL AND verb = ?1 AND source = 'thing')) ORDER BY rowid`,
    verb,
    name,
  );
  for (const row of rows) {
    const rule = JSON.parse(row.rule) as FaultRule;
    const open = row.calls >= rule.afterCalls && (rule.times === null || row.injected < rule.times);
    const strikes =
      open && !struck.has(rule.kind) && (rule.probability >= 1 || draw(truth) < rule.probability);
    truth.run(
      'UPDATE rules SET calls = calls + 1, injected = injected + ? WHERE id = ?',
      strikes ? 1 : 0,
      row.id,
    );
    if (!strikes) continue;
    struck.set(rule.kind, rule);
    truth.run(
      'INSERT INTO injections VALUES(?, ?, 1) ON CONFLICT(kind, verb) DO UPDATE SET count = count + 1',
      rule.kind,
      verb,
    );
  }
  return struck;
}
