import { z } from 'zod';
import { profileSchema } from '../domain/profile/profile.ts';
import { venueKey } from '../domain/routing/venue.ts';
import type { EngineContext } from '../engine/context.ts';
import { createInput } from './create.ts';
import { guardedInputs } from './host-paths.ts';
import { call } from './operation.ts';
import { explainRoute } from './planning.ts';
import { routeSchema } from './view.ts';

const profileId = z.string().max(120).describe('A profile, e.g. profile.local');

const profileSummary = z.object({
  id: z.string(),
  version: z.string(),
  description: z.string(),
  extensions: z.array(z.string()),
  ttl: z.string(),
  file: z.string(),
});

export const profilesList = call({
  name: 'profiles_list',
  summary: 'The recipes that can be named in create',
  input: z.strictObject({}),
  output: z.object({
    items: z.array(profileSummary),
    broken: z.array(z.object({ file: z.string(), problems: z.array(z.string()) })),
  }),
  scope: 'read',
  effect: 'read',
  keyed: false,
  errors: [],
  examples: ['sandboxer profiles list'],
  http: { method: 'GET', path: '/v1/profiles' },
  cli: { command: ['profiles', 'list'], positional: [], flags: {} },
  async run(context) {
    const { entries, broken } = await context.engine.context.profiles.list();
    return {
      items: entries.map(({ profile, file }) => ({
        id: profile.id,
        version: profile.version,
        description: profile.description,
        extensions: profile.route?.extensions ?? [profile.extension!],
        ttl: profile.ttl.default,
        file,
      })),
      broken: broken.map(({ file, problems }) => ({ file, problems: [...problems] })),
    };
  },
});

export const profilesShow = call({
  name: 'profiles_show',
  summary: 'One recipe in full, with its defaults filled in',
  input: z.strictObject({ id: profileId }),
  output: z.object({ file: z.string(), profile: profileSchema }),
  scope: 'read',
  effect: 'read',
  keyed: false,
  errors: ['unknown_profile', 'invalid_profile'],
  examples: ['sandboxer profiles show profile.local'],
  http: { method: 'GET', path: '/v1/profiles/{id}' },
  cli: { command: ['profiles', 'show'], positional: ['id'], flags: {} },
  run: (context, { id }) => context.engine.context.profiles.get(id),
});

export const profilesValidate = call({
  name: 'profiles_validate',
  hostWide: true,
  summary: 'Check a profile file; a wrong one is refused with file, line and reason',
  input: z.strictObject({ file: z.string().max(4_096).describe('A path on the machine that serves') }),
  output: z.object({ file: z.string(), profile: profileSchema }),
  scope: 'admin',
  effect: 'read',
  keyed: false,
  errors: ['invalid_profile'],
  examples: ['sandboxer profiles validate ./profile.mine.yaml'],
  http: { method: 'POST', path: '/v1/profiles/validate' },
  cli: { command: ['profiles', 'validate'], positional: ['file'], flags: {} },
  run: (context, { file }) => context.engine.context.profiles.validate(file),
});

const extensionSummary = z.object({
  id: z.string(),
  title: z.string(),
  description: z.string(),
  healthy: z.boolean(),
  reason: z.string().nullable(),
  slots_used: z.number().int(),
  slots: z.number().int(),
  capabilities: z.record(z.string(), z.unknown()),
});

/** Of an extension with hosts: those of all hosts together. */
async function slotsOf(engine: EngineContext, extensionId: string, hosts: boolean) {
  const { store, settings } = engine;
  if (!hosts) return { slots_used: await store.slotsUsed(extensionId), slots: settings.slotsPerExtension };
  const all = await engine.hosts.list();
  const used = await Promise.all(
    all.map(({ name }) => store.slotsUsed(venueKey({ extensionId, host: name }))),
  );
  return {
    slots_used: used.reduce((sum, count) => sum + count, 0),
    slots: all.reduce((sum, { slots }) => sum + slots, 0),
  };
}

export const extensionsList = call({
  name: 'extensions_list',
  summary: 'The backends, what each can enforce, and whether it can take work now',
  input: z.strictObject({}),
  output: z.object({ items: z.array(extensionSummary) }),
  scope: 'read',
  effect: 'read',
  keyed: false,
  errors: ['invalid_hosts'],
  examples: ['sandboxer extensions list'],
  http: { method: 'GET', path: '/v1/extensions' },
  cli: { command: ['extensions', 'list'], positional: [], flags: {} },
  async run(context) {
    const { extensions } = context.engine.context;
    const items = await Promise.all(
      extensions.summaries().map(async ({ id, title, description }) => {
        const extension = await extensions.load(id);
        const [health, capabilities] = await Promise.all([
          extension.health(context.signal),
          extension.capabilities(),
        ]);
        return {
          id,
          title,
          description,
          healthy: health.ok,
          reason: health.reason,
          ...(await slotsOf(context.engine.context, id, capabilities.hosts)),
          capabilities: { ...capabilities },
        };
      }),
    );
    return { items };
  },
});

export const routeExplain = call({
  name: 'route_explain',
  summary: 'Which backend a create would choose now, and why not the others',
  input: z.strictObject({
    profile: profileId,
    inputs: createInput.shape.inputs,
    ttl: createInput.shape.ttl,
    host: createInput.shape.host,
  }),
  output: routeSchema,
  scope: 'read',
  effect: 'read',
  keyed: false,
  errors: [
    'unknown_profile',
    'invalid_profile',
    'invalid_duration',
    'ttl_over_maximum',
    'unknown_host',
    'invalid_hosts',
  ],
  examples: ['sandboxer route explain --profile profile.sandbox-canary'],
  http: { method: 'POST', path: '/v1/route/explain' },
  cli: {
    command: ['route', 'explain'],
    positional: [],
    flags: {
      profile: '--profile <id>',
      inputs: '--input <name=value...>',
      ttl: '--ttl <duration>',
      host: '--host <name>',
    },
  },
  async run(context, input) {
    const { profile } = await context.engine.context.profiles.get(input.profile);
    const inputs = await guardedInputs(context, input.inputs);
    const request = { inputs, host: input.host || null, ttl: input.ttl };
    const route = await explainRoute(context.engine.context, profile, request, context.signal);
    return {
      ...route,
      order: [...route.order],
      candidates: route.candidates.map((candidate) => ({ ...candidate })),
    };
  },
});
