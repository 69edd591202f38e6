/** A host: a machine of the user's that runs sandboxes, reached over SSH, or this machine's own engine. */
import { z } from 'zod';

/** The name that `--host` and a profile's placement use. */
export const HOST_NAME = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;
/** A login name; never begins with a dash, so that no program takes it for an option. */
const USER = /^[a-z_][a-z0-9_.-]{0,31}$/i;
/** A DNS name, an address of either family, or an alias of `~/.ssh/config`. */
const ADDRESS = /^[a-z0-9]([a-z0-9._:-]{0,253}[a-z0-9])?$/i;
const ABSOLUTE_PATH = /^\/[^\0\n]{0,1023}$/;
/** What `engine` may be: the Compose program and its fixed first words. */
export const COMPOSE_COMMANDS = [
  'docker compose',
  'docker-compose',
  'podman-compose',
  'podman compose',
] as const;

export const BASE_DIRECTORY = '/tmp/sandboxer';
export const HOST_SLOTS_DEFAULT = 8;

export const sshDestinationSchema = z.strictObject({
  /** Null leaves it to `~/.ssh/config` or the login name of whoever runs sand-boxer. */
  user: z.string().regex(USER, 'not a login name').nullable().default(null),
  address: z.string().regex(ADDRESS, 'not a host name, address or alias of ~/.ssh/config'),
  port: z.number().int().min(1).max(65_535).nullable().default(null),
  key_file: z.string().regex(ABSOLUTE_PATH, 'not an absolute path').nullable().default(null),
  /** `user@host:port` of a machine on the way. */
  jump: z
    .string()
    .regex(/^([a-z_][a-z0-9_.-]{0,31}@)?[a-z0-9][a-z0-9._:-]{0,253}(:[0-9]{1,5})?$/i, 'not user@host:port')
    .nullable()
    .default(null),
});

export const hostSchema = z.strictObject({
  name: z.string().regex(HOST_NAME, 'lower-case letters, digits, dots and dashes'),
  /** Null: this machine, without SSH. */
  ssh: sshDestinationSchema.nullable(),
  /** Null: found out by asking the host. */
  compose_command: z.enum(COMPOSE_COMMANDS).nullable().default(null),
  base_directory: z.string().regex(ABSOLUTE_PATH, 'not an absolute path').default(BASE_DIRECTORY),
  slots: z.number().int().min(1).max(10_000).default(HOST_SLOTS_DEFAULT),
  labels: z.record(z.string().max(63), z.string().max(256)).default({}),
  price_micro_usd_per_hour: z.number().int().nonnegative().default(0),
  /** Draining: what runs there goes on, nothing new is placed there. */
  draining: z.boolean().default(false),
});

export type Host = z.output<typeof hostSchema>;
export type SshDestination = z.output<typeof sshDestinationSchema>;

/** `user@address` or `[user@]alias:port` as a person writes it, or null when it is not of that form. */
export function parseDestination(text: string): Pick<SshDestination, 'user' | 'address' | 'port'> | null {
  const match = /^(?:([^@]+)@)?(\[[^\]]+\]|[^:@]+)(?::([0-9]{1,5}))?$/.exec(text);
  if (match === null) return null;
  const [, user = null, bracketed = '', port] = match;
  const address = bracketed.replace(/^\[|\]$/g, '');
  const parsed = sshDestinationSchema.safeParse({
    user,
    address,
    port: port === undefined ? null : Number(port),
  });
  return parsed.success ? { user, address, port: parsed.data.port } : null;
}

/** `user@address:port`, as `parseDestination` reads it. */
export function hostText(target: Pick<SshDestination, 'user' | 'address' | 'port'>): string {
  const { user, address, port } = target;
  const bracketed = address.includes(':') ? `[${address}]` : address;
  return `${destinationText({ user, address: bracketed })}${port === null ? '' : `:${port}`}`;
}

/** `user@address`, as `reachability.ssh` shows it. */
export function destinationText({ user, address }: Pick<SshDestination, 'user' | 'address'>): string {
  return user === null ? address : `${user}@${address}`;
}

/** The host that a person means by `[user@]address[:port]` without registering it, under that very name. */
export function adHocHost(text: string): Host | null {
  const target = parseDestination(text);
  if (target === null) return null;
  return {
    name: text,
    ssh: { ...target, key_file: null, jump: null },
    compose_command: null,
    base_directory: BASE_DIRECTORY,
    slots: HOST_SLOTS_DEFAULT,
    labels: {},
    price_micro_usd_per_hour: 0,
    draining: false,
  };
}
