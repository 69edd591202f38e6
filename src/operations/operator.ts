import { z } from 'zod';
import { LIMITS } from '../domain/limits.ts';
import type { SweepItem } from '../engine/sweep.ts';
import { measure, telemetrySchema } from './host-reports.ts';
import { call, type OperationContext } from './operation.ts';

export const version = call({
  name: 'version',
  summary: 'The version of what answers',
  input: z.strictObject({}),
  output: z.object({ version: z.string(), node: z.string(), platform: z.string() }),
  scope: 'read',
  effect: 'read',
  keyed: false,
  errors: [],
  examples: ['sandboxer version'],
  http: { method: 'GET', path: '/v1/version' },
  cli: { command: ['version'], positional: [], flags: {} },
  async run(context) {
    return {
      version: context.installation.version,
      node: process.version,
      platform: `${process.platform}-${process.arch}`,
    };
  },
});

const finding = z.object({
  check: z.string(),
  status: z.enum(['ok', 'warning', 'failed']),
  detail: z.string(),
  remedy: z.string().nullable(),
});

export const doctor = call({
  name: 'doctor',
  hostWide: true,
  summary: 'What is missing on this machine, and the command that adds it',
  input: z.strictObject({}),
  output: z.object({ ok: z.boolean(), findings: z.array(finding) }),
  scope: 'admin',
  effect: 'read',
  keyed: false,
  errors: [],
  examples: ['sandboxer doctor'],
  http: { method: 'GET', path: '/v1/doctor' },
  cli: { command: ['doctor'], positional: [], flags: {} },
  async run(context) {
    const findings = [...(await context.installation.diagnose(context.signal))];
    return { ok: findings.every(({ status }) => status !== 'failed'), findings };
  },
});

export const inspectHost = call({
  name: 'inspect_host',
  summary: 'Load, memory and disk where each backend runs sandboxes',
  input: z.strictObject({}),
  output: z.object({
    items: z.array(
      z.object({
        extension_id: z.string(),
        /** Null for a backend without hosts. */
        host: z.string().nullable(),
        telemetry: telemetrySchema.nullable(),
        /** Why it could not be measured. */
        reason: z.string().nullable(),
      }),
    ),
  }),
  scope: 'read',
  effect: 'read',
  keyed: false,
  errors: ['invalid_hosts'],
  examples: ['sandboxer inspect host'],
  http: { method: 'GET', path: '/v1/hosts/telemetry' },
  cli: { command: ['inspect', 'host'], positional: [], flags: {} },
  async run(context) {
    const engine = context.engine.context;
    const perExtension = engine.extensions.summaries().map(async ({ id }) => {
      const extension = await engine.extensions.load(id);
      const { hosts } = await extension.capabilities();
      const measured = hosts ? await engine.hosts.list() : [null];
      return Promise.all(
        measured.map(async (host) => ({
          extension_id: id,
          host: host?.name ?? null,
          ...(await measure(engine, extension, host)),
        })),
      );
    });
    return { items: (await Promise.all(perExtension)).flat() };
  },
});

const stray = z.object({
  extension_id: z.string(),
  name: z.string(),
  action: z.enum(['leave', 'watch', 'kill']),
  reason: z.string(),
  removed: z.boolean(),
});

const sweepOutput = z.object({ applied: z.boolean(), items: z.array(stray), alarms: z.array(z.string()) });

async function sweepAll(context: OperationContext, apply: boolean): Promise<z.input<typeof sweepOutput>> {
  const { extensions } = context.engine.context;
  const items: SweepItem[] = [];
  const alarms: string[] = [];
  for (const { id } of extensions.summaries()) {
    const report = await context.engine.sweeper.sweep(
      await extensions.load(id),
      apply,
      context.signal,
      LIMITS.sweepKillsMax,
    );
    items.push(...report.items);
    if (report.alarm !== null) alarms.push(report.alarm);
  }
  return {
    applied: apply,
    alarms,
    items: items.map(({ extensionId, name, action, reason, killed }) => ({
      extension_id: extensionId,
      name,
      action,
      reason,
      removed: killed,
    })),
  };
}

export const inspectStale = call({
  name: 'inspect_stale',
  hostWide: true,
  summary: 'What lies at the backends, and what a sweep would do about it',
  input: z.strictObject({}),
  output: sweepOutput,
  scope: 'admin',
  effect: 'read',
  keyed: false,
  errors: ['backend_unavailable'],
  examples: ['sandboxer inspect stale'],
  http: { method: 'GET', path: '/v1/hosts/stale' },
  cli: { command: ['inspect', 'stale'], positional: [], flags: {} },
  run: (context) => sweepAll(context, false),
});

export const reapStale = call({
  name: 'reap_stale',
  hostWide: true,
  summary: 'Remove what no record holds, by the rules of the sweep; a dry run unless told to apply',
  input: z.strictObject({
    apply: z.stringbool().or(z.boolean()).default(false).describe('Really remove it'),
  }),
  output: sweepOutput,
  scope: 'admin',
  effect: 'destructive',
  keyed: false,
  errors: ['backend_unavailable'],
  examples: ['sandboxer reap-stale', 'sandboxer reap-stale --apply'],
  http: { method: 'POST', path: '/v1/hosts/reap-stale' },
  cli: { command: ['reap-stale'], positional: [], flags: { apply: '--apply' } },
  run: (context, { apply }) => sweepAll(context, apply),
});
