/** The backend itself: one call is one transaction on the truth, then whatever a fault does to the answer. */
import { readFileSync, statSync } from 'node:fs';
import { parse } from 'yaml';
import { LIMITS } from '../../../domain/limits.ts';
import type { Clock } from '../../../ports/clock.ts';
import type { Entropy } from '../../../ports/entropy.ts';
import { FaultRulesSchema } from '../config.ts';
import type { SimulatedBackend, WireOutcome, WireReply, WireRequest, WireVerb } from '../wire.ts';
import { replaceRules, type Struck, strike } from './faults.ts';
import { exec, files, logs, renew } from './inside.ts';
import {
  type Call,
  destroy,
  list,
  meter,
  observe,
  provision,
  registerRules,
  setOwnDeadline,
} from './life.ts';
import { type Answer, answerAfter, answerBefore, json } from './replies.ts';
import type { Truth } from './truth.ts';

export interface ServiceOptions {
  readonly truth: Truth;
  readonly clock: Clock;
  readonly entropy: Entropy;
  /** A YAML or JSON list of fault rules, read again whenever it changes; need not exist. */
  readonly faultsFile: string;
}

const VERBS: Record<WireVerb, (call: Call) => WireReply> = {
  health: () => json(200, { ok: true, reason: null }),
  provision,
  observe,
  list,
  destroy,
  setOwnDeadline,
  meter,
  exec,
  renew,
  files,
  logs,
};

const SLOW_FAULT_MS = 1_000;
const DRIP_MS_PER_BYTE = 1_000;

export function createService(options: ServiceOptions): SimulatedBackend {
  const { truth, clock } = options;
  const faultsFile = createFaultsFile(options);
  return {
    async call(request, signal) {
      if (signal.aborted) return { kind: 'silence' };
      const fileProblem = faultsFile.refresh();
      if (fileProblem !== null && request.verb === 'health') {
        return { kind: 'reply', reply: json(200, { ok: false, reason: fileProblem }) };
      }
      const { answer, struck } = truth.transaction(() => act(options, request));
      return deliver(clock, answer, struck, signal);
    },
    async close() {
      truth.close();
    },
  };
}

function act(options: ServiceOptions, request: WireRequest): { answer: Answer; struck: Struck } {
  const { truth, entropy, clock } = options;
  if (request.verb === 'provision') registerRules(truth, request);
  const struck = strike(truth, request.verb, request.name);
  const early = answerBefore(struck);
  if (early !== null) return { answer: early, struck };
  const call: Call = { truth, entropy, request, struck, nowMs: clock.nowMs() };
  if (struck.has('doubled')) VERBS[request.verb](call);
  return { answer: answerAfter(struck, VERBS[request.verb](call), request), struck };
}

async function deliver(
  clock: Clock,
  answer: Answer,
  struck: Struck,
  signal: AbortSignal,
): Promise<WireOutcome> {
  if (answer === 'silence') return silence(signal);
  if (answer === 'reset') return { kind: 'reset' };
  const slow = struck.get('slow');
  const dripMs = struck.has('drip') ? answer.body.length * DRIP_MS_PER_BYTE : 0;
  const waitMs = dripMs + (slow === undefined ? 0 : (slow.delayMs ?? SLOW_FAULT_MS));
  if (waitMs > 0) {
    const waited = await clock.sleep(waitMs, signal).then(
      () => true,
      () => false, // the caller gave up
    );
    if (!waited) return { kind: 'silence' };
  }
  return { kind: 'reply', reply: answer };
}

function silence(signal: AbortSignal): Promise<WireOutcome> {
  return new Promise((resolve) => {
    const end = () => resolve({ kind: 'silence' });
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });
}

/** Keeps the rules of source `file` as the file says; a broken file keeps the last good ones and is reported. */
function createFaultsFile({ truth, faultsFile }: ServiceOptions): { refresh(): string | null } {
  let seen = 'never looked';
  let trouble: string | null = null;
  return {
    refresh() {
      const stat = statSync(faultsFile, { throwIfNoEntry: false });
      const stamp = stat === undefined ? 'missing' : `${stat.mtimeMs}/${stat.size}/${stat.ino}`;
      if (stamp === seen) return trouble;
      seen = stamp;
      trouble =
        stat !== undefined && stat.size > LIMITS.requestBodyBytes ? 'the faults file is too large' : null;
      if (trouble !== null) return trouble;
      const text = stat === undefined ? '[]' : readFileSync(faultsFile, 'utf8');
      trouble = applyRules(truth, text, stamp);
      return trouble;
    },
  };
}

/** `stamp` is the same for every process that looks at the file; writing the file again arms its rules anew. */
function applyRules(truth: Truth, text: string, stamp: string): string | null {
  let value: unknown;
  try {
    value = parse(text, { maxAliasCount: 0 });
  } catch (error) {
    return `the faults file is not YAML: ${error instanceof Error ? error.message.split('\n')[0] : 'unreadable'}`;
  }
  const rules = FaultRulesSchema.safeParse(value ?? []);
  if (!rules.success) {
    const issue = rules.error.issues[0];
    return `the faults file: ${issue?.path.join('.')}: ${issue?.message}`;
  }
  truth.transaction(() => {
    if (truth.meta('faults_file') === stamp) return;
    replaceRules(truth, 'file', rules.data);
    truth.setMeta('faults_file', stamp);
  });
  return null;
}
