import { z } from 'zod';
import type { Profile } from '../domain/profile/profile.ts';
import type { SnapshotManifest } from '../domain/snapshot/manifest.ts';
import { create, createInput, establishOnce, record } from './create.ts';
import { IdempotentRequest } from './idempotency.ts';
import { call, type OperationContext } from './operation.ts';
import { visibleSnapshot } from './snapshot-view.ts';
import { snapshotIdField } from './snapshots.ts';
import { sandboxSchema } from './view.ts';

const { host, ttl, labels, run_id, wait, inputs } = createInput.shape;

const restoreInput = z.strictObject({
  id: snapshotIdField,
  profile: z.string().max(120).optional().describe('Another recipe than the one it was made by'),
  inputs: inputs.describe('Inputs beside those that are stored, such as env.NAME=value'),
  host,
  ttl,
  run_id,
  labels,
  wait,
});

/** What the snapshot's inputs still mean: all of them to its own profile, those that another one declares to that. */
function storedInputs(manifest: SnapshotManifest, profile: Profile): Record<string, string> {
  const isOwn = profile.id === manifest.profile_id;
  const stored = Object.entries(manifest.inputs).filter(
    ([name]) => name !== 'repo' && (isOwn || Object.hasOwn(profile.inputs, name)),
  );
  return Object.fromEntries(stored);
}

async function establish(
  context: OperationContext,
  input: z.output<typeof restoreInput>,
  request: IdempotentRequest,
): Promise<string> {
  const { store, profiles } = context.engine.context;
  const snapshot = await visibleSnapshot(context, input.id);
  const { manifest, project } = snapshot.record;
  const { profile } = await profiles.get(input.profile ?? manifest.profile_id);
  const source = await store.getSandbox(manifest.sandbox_id);
  const { id: _id, inputs: given, ...rest } = input;
  const asked = createInput.parse({
    ...rest,
    profile: profile.id,
    inputs: { ...storedInputs(manifest, profile), ...given },
    actor: source?.consumer.actor,
    project,
  });
  return record(context, asked, request, snapshot);
}

export const restore = call({
  name: 'restore',
  summary: 'Establish a new sandbox with what a snapshot holds',
  input: restoreInput,
  output: sandboxSchema,
  scope: 'write',
  effect: 'write',
  keyed: true,
  errors: [...create.errors, 'not_found', 'snapshot_corrupt'],
  examples: [
    'sandboxer restore <snapshot-id>',
    'sandboxer restore <snapshot-id> --host build2 --ttl 1h',
    'sandboxer restore <snapshot-id> --profile profile.local',
    'sandboxer restore <snapshot-id> --input env.TOKEN=value',
  ],
  http: { method: 'POST', path: '/v1/snapshots/{id}/restore', status: 201 },
  cli: {
    command: ['restore'],
    positional: ['id'],
    flags: {
      profile: '--profile <id>',
      inputs: '--input <name=value...>',
      host: '--host <name>',
      ttl: '--ttl <duration>',
      run_id: '--run-id <name>',
      labels: '--label <name=value...>',
      wait: '--no-wait',
    },
  },
  async run(context, input) {
    const request = new IdempotentRequest(context, 'restore', input);
    return establishOnce(context, request, input.wait, () => establish(context, input, request));
  },
});
