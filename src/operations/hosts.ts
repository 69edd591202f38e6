/** The hosts of the user's that sandboxes can be placed on. */
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { SandboxerError } from '../domain/errors.ts';
import { type Host, hostSchema, parseDestination, sshDestinationSchema } from '../domain/host/host.ts';
import type { HostEntry } from '../ports/host-directory.ts';
import type { StoreTransaction } from '../ports/store.ts';
import { extensionsWithHosts, reportOn, telemetrySchema } from './host-reports.ts';
import { hostSchemaShown, hostView, requireHost } from './host-view.ts';
import { call, type OperationContext } from './operation.ts';

const hostName = z.string().min(1).max(300).describe('The name of a host');

export const hostsList = call({
  name: 'hosts_list',
  summary: 'The hosts that sandboxes can be placed on',
  input: z.strictObject({}),
  output: z.object({ items: z.array(hostSchemaShown) }),
  scope: 'read',
  effect: 'read',
  keyed: false,
  errors: ['invalid_hosts'],
  examples: ['sandboxer hosts list'],
  http: { method: 'GET', path: '/v1/hosts' },
  cli: { command: ['hosts', 'list'], positional: [], flags: {} },
  async run(context) {
    const entries = await context.engine.context.hosts.entries();
    return { items: await Promise.all(entries.map((entry) => hostView(context, entry))) };
  },
});

const { name, compose_command, base_directory, slots, labels, price_micro_usd_per_hour } = hostSchema.shape;

const addInput = z.strictObject({
  name: name.describe('The name that --host and profiles use'),
  ssh: z
    .string()
    .max(300)
    .optional()
    .describe('How to reach it: [user@]host[:port], or an alias of ~/.ssh/config'),
  local: z.boolean().default(false).describe('It is this machine, without SSH'),
  key_file: sshDestinationSchema.shape.key_file.describe(
    'The private key, where SSH does not find it by itself',
  ),
  jump: sshDestinationSchema.shape.jump.describe('A machine on the way, user@host:port'),
  compose_command: compose_command.describe('The Compose program there; found out by asking unless said'),
  base_directory: base_directory.describe('Where the files of sandboxes are kept there'),
  slots: slots.describe('How many sandboxes it may hold at once'),
  labels: labels.describe('Labels, e.g. zone=lab'),
  price_micro_usd_per_hour: price_micro_usd_per_hour.describe(
    'What a sandbox there costs, in millionths of a dollar an hour',
  ),
});

function sshOf(input: z.output<typeof addInput>): Host['ssh'] {
  const { ssh, local, key_file, jump } = input;
  if (local !== (ssh === undefined)) {
    throw new SandboxerError('invalid_request', 'Say how to reach it: either --ssh user@host, or --local.');
  }
  if (ssh === undefined) {
    if (key_file === null && jump === null) return null;
    throw new SandboxerError('invalid_request', '--key and --jump go with --ssh, not with --local.');
  }
  const target = parseDestination(ssh);
  if (target !== null) return { ...target, key_file, jump };
  throw new SandboxerError('invalid_request', '--ssh must look like user@host, user@host:22 or an alias.');
}

function inFile(context: OperationContext, host: string): SandboxerError {
  const { file } = context.engine.context.hosts;
  return new SandboxerError('state_conflict', `The host ${host} is configured in ${file}.`, {
    nextStep: 'Change it there; the file is read again by itself.',
  });
}

/** A failed sandbox holds no slot, and may still have something there until that is proven gone. */
async function refuseWhileUsed(transaction: StoreTransaction, host: string, what: string): Promise<void> {
  const used = await transaction.hostSlotsUsed(host);
  const busy = await transaction.hostRuns(host);
  if (used === 0 && busy === 0) return;
  const found =
    used > 0
      ? `${used === 1 ? 'One sandbox is' : `${used} sandboxes are`} on ${host}`
      : `What failed sandboxes had on ${host} is still being removed`;
  throw new SandboxerError('state_conflict', `${found}, so ${what}.`, {
    nextStep:
      used > 0
        ? `Let nothing new in with: sandboxer hosts drain ${host}, destroy what is there, and repeat this`
        : 'Repeat this when it is done; see it with: sandboxer list --state failed',
  });
}

export const hostsAdd = call({
  name: 'hosts_add',
  hostWide: true,
  summary: 'Register a host, or change one; where a name leads is fixed while sandboxes are there',
  input: addInput,
  output: hostSchemaShown,
  scope: 'admin',
  effect: 'write',
  keyed: false,
  errors: ['invalid_request', 'state_conflict', 'invalid_hosts'],
  examples: [
    'sandboxer hosts add build1 --ssh deploy@build1.example.org --slots 4',
    'sandboxer hosts add build2 --ssh deploy@10.0.0.5:2222 --key ~/.ssh/build --label zone=lab',
    'sandboxer hosts add here --local',
  ],
  http: { method: 'POST', path: '/v1/hosts', status: 201 },
  cli: {
    command: ['hosts', 'add'],
    positional: ['name'],
    flags: {
      ssh: '--ssh <destination>',
      local: '--local',
      key_file: '--key <file>',
      jump: '--jump <destination>',
      compose_command: '--compose-command <command>',
      base_directory: '--base-directory <path>',
      slots: '--slots <count>',
      labels: '--label <name=value...>',
      price_micro_usd_per_hour: '--price-micro-usd-per-hour <amount>',
    },
  },
  async run(context, input) {
    const { store, hosts } = context.engine.context;
    const { local: _local, key_file: _key, jump: _jump, ...given } = input;
    const host = { ...given, ssh: sshOf(input) };
    await store.transaction(async (transaction) => {
      const stored = await transaction.getHost(host.name);
      if (hosts.resolve(host.name, stored)?.source === 'file') throw inFile(context, host.name);
      if (stored !== null && !isDeepStrictEqual(stored.host.ssh, host.ssh)) {
        await refuseWhileUsed(transaction, host.name, 'it cannot lead to another machine now');
      }
      const draining = stored?.host.draining ?? false;
      await transaction.putHost({ host: { ...host, draining }, origin: 'added' });
    });
    return hostView(context, await requireHost(context, host.name));
  },
});

const checked = z.object({
  name: z.string(),
  /** Null where no installed backend uses hosts. */
  extension_id: z.string().nullable(),
  ok: z.boolean(),
  reason: z.string().nullable(),
  load_per_cpu: z.number().nullable(),
  draining: z.boolean(),
  telemetry: telemetrySchema.nullable(),
});

export const hostsCheck = call({
  name: 'hosts_check',
  hostWide: true,
  summary: 'Ask the hosts whether they could take a sandbox now, and how they are',
  input: z.strictObject({ name: hostName.optional().describe('One host; all unless said') }),
  output: z.object({ ok: z.boolean(), items: z.array(checked) }),
  scope: 'admin',
  effect: 'read',
  keyed: false,
  errors: ['unknown_host', 'invalid_hosts'],
  examples: ['sandboxer hosts check', 'sandboxer hosts check build1'],
  http: { method: 'POST', path: '/v1/hosts/check' },
  cli: { command: ['hosts', 'check'], positional: ['name'], flags: {} },
  async run(context, input) {
    const engine = context.engine.context;
    const extensions = await extensionsWithHosts(engine);
    const entries =
      input.name === undefined ? await engine.hosts.entries() : [await requireHost(context, input.name)];
    const ask = async ({ host }: HostEntry): Promise<z.input<typeof checked>[]> => {
      const about = { name: host.name, draining: host.draining };
      if (extensions.length === 0) {
        const reason = 'No installed backend uses hosts.';
        return [{ ...about, extension_id: null, ok: false, reason, load_per_cpu: null, telemetry: null }];
      }
      const reports = await Promise.all(extensions.map((extension) => reportOn(engine, extension, host)));
      return reports.map(({ state, telemetry }, index) => ({
        ...about,
        extension_id: extensions[index]!.id,
        ok: state.ok,
        reason: state.reason,
        load_per_cpu: state.loadPerCpu,
        telemetry,
      }));
    };
    const items = (await Promise.all(entries.map(ask))).flat();
    return { ok: items.every(({ ok }) => ok), items };
  },
});

export const hostsRemove = call({
  name: 'hosts_remove',
  hostWide: true,
  summary: 'Forget a host on which no sandbox is',
  input: z.strictObject({ name: hostName }),
  output: z.object({ name: z.string(), removed: z.boolean() }),
  scope: 'admin',
  effect: 'destructive',
  keyed: false,
  errors: ['unknown_host', 'state_conflict', 'invalid_hosts'],
  examples: ['sandboxer hosts remove build1'],
  http: { method: 'DELETE', path: '/v1/hosts/{name}' },
  cli: { command: ['hosts', 'remove'], positional: ['name'], flags: {} },
  async run(context, input) {
    const { store } = context.engine.context;
    const { source } = await requireHost(context, input.name);
    if (source === 'file') throw inFile(context, input.name);
    const removed = await store.transaction(async (transaction) => {
      await refuseWhileUsed(transaction, input.name, 'it cannot be removed');
      return transaction.deleteHost(input.name);
    });
    return { name: input.name, removed };
  },
});

export const hostsDrain = call({
  name: 'hosts_drain',
  hostWide: true,
  summary: 'Place nothing new on a host; what runs there goes on',
  input: z.strictObject({
    name: hostName,
    undo: z.stringbool().or(z.boolean()).default(false).describe('Let it take work again'),
  }),
  output: hostSchemaShown,
  scope: 'admin',
  effect: 'write',
  keyed: false,
  errors: ['unknown_host', 'state_conflict', 'invalid_hosts'],
  examples: ['sandboxer hosts drain build1', 'sandboxer hosts drain build1 --undo'],
  http: { method: 'POST', path: '/v1/hosts/{name}/drain' },
  cli: { command: ['hosts', 'drain'], positional: ['name'], flags: { undo: '--undo' } },
  async run(context, input) {
    const { store } = context.engine.context;
    const { host, source } = await requireHost(context, input.name);
    await store.transaction(async (transaction) => {
      const stored = await transaction.getHost(input.name);
      const origin = stored?.origin ?? (source === 'file' ? 'mark' : 'ad_hoc');
      await transaction.putHost({ host: { ...(stored?.host ?? host), draining: !input.undo }, origin });
    });
    const after = await requireHost(context, input.name);
    if (after.host.draining && input.undo) throw inFile(context, input.name);
    return hostView(context, after);
  },
});
