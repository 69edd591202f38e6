/** What a sandbox holds, kept for later. */
import { z } from 'zod';
import { parseDurationMs } from '../domain/duration.ts';
import { SandboxerError } from '../domain/errors.ts';
import { LIMITS } from '../domain/limits.ts';
import { removeExpiredSnapshots, removeSnapshot } from '../engine/snapshot-removal.ts';
import { takeSnapshot } from '../engine/snapshots.ts';
import { usableSandbox } from './access.ts';
import { call } from './operation.ts';
import { PAGE_FIELDS } from './paging.ts';
import { sandboxIdField } from './sandboxes.ts';
import { snapshotSchema, snapshotView, visibleSnapshot } from './snapshot-view.ts';

export const snapshotIdField = z.string().max(80).describe('The id of a snapshot');
const snapshotIdInput = z.strictObject({ id: snapshotIdField });

export const snapshot = call({
  name: 'snapshot',
  summary: 'Capture the workspace and the named volumes of a sandbox while it runs',
  input: z.strictObject({
    id: sandboxIdField,
    keep: z.string().max(20).optional().describe('How long it is kept, e.g. 7d (the default)'),
  }),
  output: snapshotSchema,
  scope: 'write',
  effect: 'write',
  keyed: false,
  errors: [
    'not_found',
    'state_conflict',
    'invalid_duration',
    'unsupported',
    'snapshot_too_large',
    'store_full',
    'backend_unavailable',
    'backend_refused',
    'backend_failed',
    'invalid_input',
  ],
  examples: ['sandboxer snapshot <id>', 'sandboxer snapshot <id> --keep 30d'],
  http: { method: 'POST', path: '/v1/sandboxes/{id}/snapshot', status: 201 },
  cli: { command: ['snapshot'], positional: ['id'], flags: { keep: '--keep <duration>' } },
  async run(context, { id, keep }) {
    const keepMs = keep === undefined ? LIMITS.snapshotKeepMs : parseDurationMs(keep);
    const record = await usableSandbox(context, id);
    const engine = context.engine.context;
    const extension = await engine.extensions.load(record.extensionId);
    if (extension.snapshots === undefined) {
      throw new SandboxerError('unsupported', `${extension.id} cannot take snapshots.`, {
        sandboxId: id,
        nextStep: `Copy what you need: sandboxer cp ${id}:/workspace ./copy`,
      });
    }
    await removeExpiredSnapshots(engine);
    return snapshotView(await takeSnapshot(engine, extension, record, keepMs, context.signal));
  },
});

export const snapshotsList = call({
  name: 'snapshots_list',
  summary: 'Snapshots, newest first, a page at a time',
  input: z.strictObject({
    project: z.string().max(120).optional().describe('Only this project'),
    ...PAGE_FIELDS,
  }),
  output: z.object({ items: z.array(snapshotSchema), next_cursor: z.string().nullable() }),
  scope: 'read',
  effect: 'read',
  keyed: false,
  errors: ['invalid_request'],
  examples: ['sandboxer snapshots list'],
  http: { method: 'GET', path: '/v1/snapshots' },
  cli: {
    command: ['snapshots', 'list'],
    positional: [],
    flags: { project: '--project <name>', cursor: '--cursor <cursor>', limit: '--limit <count>' },
  },
  async run({ engine, principal }, { project, cursor, limit }) {
    const own = principal.project;
    if (own !== null && project !== undefined && project !== own) return { items: [], next_cursor: null };
    const { store, clock } = engine.context;
    const page = await store.listSnapshots({
      project: own ?? project ?? null,
      nowMs: clock.nowMs(),
      cursor: cursor ?? null,
      limit,
    });
    return { items: page.items.map(snapshotView), next_cursor: page.nextCursor };
  },
});

export const snapshotsGet = call({
  name: 'snapshots_get',
  summary: 'What one snapshot holds, and what it does not',
  input: snapshotIdInput,
  output: snapshotSchema,
  scope: 'read',
  effect: 'read',
  keyed: false,
  errors: ['not_found'],
  examples: ['sandboxer snapshots get <snapshot-id>'],
  http: { method: 'GET', path: '/v1/snapshots/{id}' },
  cli: { command: ['snapshots', 'get'], positional: ['id'], flags: {} },
  async run(context, { id }) {
    return snapshotView((await visibleSnapshot(context, id)).record);
  },
});

export const snapshotsDelete = call({
  name: 'snapshots_delete',
  summary: 'Delete a snapshot at once',
  input: snapshotIdInput,
  output: snapshotSchema,
  scope: 'write',
  effect: 'destructive',
  keyed: false,
  errors: ['not_found'],
  examples: ['sandboxer snapshots delete <snapshot-id>'],
  http: { method: 'DELETE', path: '/v1/snapshots/{id}' },
  cli: { command: ['snapshots', 'delete'], positional: ['id'], flags: {} },
  async run(context, { id }) {
    const { record } = await visibleSnapshot(context, id);
    await removeSnapshot(context.engine.context, id);
    return snapshotView(record);
  },
});
