import { z } from 'zod';
import { SandboxerError } from '../domain/errors.ts';
import { isOver } from '../domain/sandbox/lifecycle.ts';
import type { Page, SandboxRecord } from '../ports/store.ts';
import { visibleSandbox } from './access.ts';
import { markActive } from './activity.ts';
import { call, type OperationContext } from './operation.ts';
import { PAGE_FIELDS, pageJson } from './paging.ts';
import { reachabilitySchema, sandboxJson, sandboxSchema, sandboxView, stateSchema } from './view.ts';

export const sandboxIdField = z.string().max(80).describe('The id of a sandbox');
export const idInput = z.strictObject({ id: sandboxIdField });

export const get = call({
  name: 'get',
  summary: 'The status of one sandbox',
  input: idInput,
  output: sandboxSchema,
  scope: 'read',
  effect: 'read',
  keyed: false,
  errors: ['not_found'],
  examples: ['sandboxer get <id>'],
  http: { method: 'GET', path: '/v1/sandboxes/{id}' },
  cli: { command: ['get'], positional: ['id'], flags: {} },
  async run(context, { id }) {
    return sandboxView(await visibleSandbox(context, id));
  },
});

const listInput = z.strictObject({
  project: z.string().max(120).optional().describe('Only this project'),
  actor: z.enum(['adm', 'agt', 'atm']).optional().describe('Only this kind of actor'),
  run_id: z.string().max(120).optional().describe('Only this run'),
  state: z
    .union([stateSchema, z.array(stateSchema).max(10)])
    .optional()
    .describe('Only these states'),
  profile: z.string().max(120).optional().describe('Only this profile'),
  label: z
    .string()
    .regex(/^[^=]{1,63}=.{0,256}$/, 'must look like name=value')
    .optional()
    .describe('Only with this label, name=value'),
  ...PAGE_FIELDS,
});

async function pageOf(
  context: OperationContext,
  input: z.output<typeof listInput>,
): Promise<Page<SandboxRecord>> {
  const own = context.principal.project;
  if (own !== null && input.project !== undefined && input.project !== own)
    return { items: [], nextCursor: null };
  const [key, ...value] = input.label?.split('=') ?? [];
  return context.engine.context.store.listSandboxes({
    project: own ?? input.project ?? null,
    ...(input.actor === undefined ? {} : { actor: input.actor }),
    ...(input.run_id === undefined ? {} : { runId: input.run_id }),
    ...(input.state === undefined ? {} : { states: [input.state].flat() }),
    ...(input.profile === undefined ? {} : { profileId: input.profile }),
    ...(key === undefined ? {} : { label: { key, value: value.join('=') } }),
    cursor: input.cursor ?? null,
    limit: input.limit,
  });
}

export const list = call({
  name: 'list',
  summary: 'Sandboxes, newest first, a page at a time',
  input: listInput,
  output: z.object({ items: z.array(sandboxSchema), next_cursor: z.string().nullable() }),
  scope: 'read',
  effect: 'read',
  keyed: false,
  errors: ['invalid_request'],
  examples: [
    'sandboxer list',
    'sandboxer list --state ready --label team=red',
    'sandboxer list --json --limit 500',
  ],
  http: { method: 'GET', path: '/v1/sandboxes' },
  cli: {
    command: ['list'],
    positional: [],
    flags: {
      project: '--project <name>',
      actor: '--actor <adm|agt|atm>',
      run_id: '--run-id <name>',
      state: '--state <state...>',
      profile: '--profile <id>',
      label: '--label <name=value>',
      cursor: '--cursor <cursor>',
      limit: '--limit <count>',
    },
  },
  async run(context, input) {
    const { items, nextCursor } = await pageOf(context, input);
    return { items: items.map(sandboxView), next_cursor: nextCursor };
  },
  async json(context, input) {
    const { items, nextCursor } = await pageOf(context, input);
    return pageJson(items.map(sandboxJson), nextCursor);
  },
});

export const activate = call({
  name: 'activate',
  summary: 'Say that a ready sandbox is in use now',
  input: idInput,
  output: sandboxSchema,
  scope: 'write',
  effect: 'write',
  keyed: false,
  errors: ['not_found', 'state_conflict'],
  examples: ['sandboxer activate <id>'],
  http: { method: 'POST', path: '/v1/sandboxes/{id}/activate' },
  cli: { command: ['activate'], positional: ['id'], flags: {} },
  async run(context, { id }) {
    const record = await visibleSandbox(context, id);
    return sandboxView(await markActive(context.engine.context, record, true));
  },
});

export const reachability = call({
  name: 'reachability',
  summary: 'How to get into a sandbox',
  input: idInput,
  output: reachabilitySchema,
  scope: 'read',
  effect: 'read',
  keyed: false,
  errors: ['not_found', 'state_conflict'],
  examples: ['sandboxer reachability show <id>'],
  http: { method: 'GET', path: '/v1/sandboxes/{id}/reachability' },
  cli: { command: ['reachability', 'show'], positional: ['id'], flags: {} },
  async run(context, { id }) {
    const record = await visibleSandbox(context, id);
    if (record.reachability !== null && !isOver(record.state)) {
      return { ...record.reachability, ports: [...record.reachability.ports] };
    }
    throw new SandboxerError(
      'state_conflict',
      `The sandbox ${id} is ${record.state}, so it cannot be reached.`,
      {
        sandboxId: id,
      },
    );
  },
});
