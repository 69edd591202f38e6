/** Checks of single keys, each from a value to what is written into the file that the host gets. */
import type { Rendered } from './compose-file-mounts.ts';
import type { Value } from './compose-file-value.ts';

const DURATION = /^(\d+(\.\d+)?(us|ms|s|m|h))+$/;
const SIZE = /^\d+(\.\d+)?([bkmg]b?)?$/i;
const VARIABLE_NAME = /^[^=\s\0]+$/;
const RESERVED_LABEL = /^(sandboxer|com\.docker|io\.podman)\b/;
const PORT_RANGE_MAX = 256;
const REPLICAS_MAX = 64;

export const text = (value: Value): Rendered => value.text();
export const boolean = (value: Value): Rendered => value.boolean();
export const texts = (value: Value): Rendered => value.items().map((item) => item.text());
export const duration = (value: Value): Rendered => value.matching(DURATION, 'write a duration such as 10s.');
export const size = (value: Value): Rendered => value.matching(SIZE, 'write a size such as 64m.');

/** A command: one line or its words; nothing where it is null, as the image has it. */
export function textOrTexts(value: Value): Rendered | undefined {
  if (value.isNull) return undefined;
  return value.isList ? texts(value) : value.text();
}

/** `NAME: value` or `- NAME=value`. A name alone takes the variable of that name, and is left out without one. */
export function assignments(value: Value): Record<string, string> {
  const found: Record<string, string> = {};
  const { variables } = value.context;
  const take = (name: string, given: string | null, at: Value) => {
    if (!VARIABLE_NAME.test(name) || name === '__proto__')
      at.refuse(`\`${at.name}\` has a name that cannot be used.`);
    const taken = given ?? (Object.hasOwn(variables, name) ? variables[name] : undefined);
    if (taken !== undefined) found[name] = taken;
  };
  if (value.isNull) return found;
  if (value.isMap) {
    for (const [name, item] of value.entries()) take(name, item.isNull ? null : item.text(), item);
    return found;
  }
  for (const item of value.items()) {
    const line = item.text();
    const at = line.indexOf('=');
    take(at === -1 ? line : line.slice(0, at), at === -1 ? null : line.slice(at + 1), item);
  }
  return found;
}

export function labels(value: Value): Record<string, string> {
  const found = assignments(value);
  const reserved = Object.keys(found).find((name) => RESERVED_LABEL.test(name));
  if (reserved !== undefined) value.refuse(`The label "${reserved}" is reserved; remove it.`);
  return found;
}

/** The container's side of one port; which port of the host was meant is forgotten, none is published. */
export function containerPorts(value: Value): number[] {
  const container = value.isMap
    ? (value
        .fields(['target', 'published', 'protocol', 'mode', 'host_ip', 'name', 'app_protocol'])
        .get('target') ?? value.refuse('A port needs a `target`.'))
    : null;
  const word = container === null ? (value.text().split(':').at(-1) ?? '') : container.text();
  const [, first, last = first] =
    /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(?:tcp|udp|sctp))?$/.exec(word) ??
    value.refuse(`"${word}" is not a port of the container.`);
  const [from, to] = [Number(first), Number(last)];
  if (from < 1 || to > 65_535 || to < from || to - from >= PORT_RANGE_MAX)
    value.refuse(`"${word}" is not a port of the container.`);
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

export const healthcheck = (value: Value): Rendered => {
  const fields = value.fields([
    'test',
    'interval',
    'timeout',
    'retries',
    'start_period',
    'start_interval',
    'disable',
  ]);
  for (const name of ['interval', 'timeout', 'start_period', 'start_interval']) {
    const field = fields.get(name);
    if (field !== undefined) duration(field);
  }
  return value.plain() as Rendered;
};

export const logging = (value: Value): Rendered => {
  const fields = value.fields(['driver', 'options']);
  fields.get('driver')?.oneOf(['json-file', 'local', 'none']);
  fields.get('options')?.fields(['max-size', 'max-file', 'compress']);
  return value.plain() as Rendered;
};

export const extraHosts = (value: Value): Rendered => {
  const hosts = value.isMap
    ? [...value.entries()].map(([name, item]): [string, string] => [name, item.text()])
    : value.items().map((item): [string, string] => {
        const [, name = '', address = ''] =
          /^([^:=]+)[:=](.*)$/.exec(item.text()) ?? item.refuse('`extra_hosts` needs NAME:ADDRESS.');
        return [name, address];
      });
  for (const [, address] of hosts)
    if (!/^[0-9a-fA-F.:[\]]+$/.test(address) && !value.context.allowed.has('host_gateway'))
      value.refuse(`\`extra_hosts\` may name addresses only, not "${address}".`);
  return hosts.map(([name, address]) => `${name}:${address}`);
};

export const securityOpt = (value: Value): Rendered =>
  value
    .items()
    .map((item) => item.matching(/^no-new-privileges(:true)?$/, 'only no-new-privileges:true is supported.'));

export const ulimits = (value: Value): Rendered => {
  const limits = [...value.entries()].map(([name, item]): [string, Rendered] => {
    if (!item.isMap) return [name, item.integer(0, Number.MAX_SAFE_INTEGER)];
    const pair = [...item.fields(['soft', 'hard'])].map(([key, bound]): [string, number] => [
      key,
      bound.integer(0, Number.MAX_SAFE_INTEGER),
    ]);
    return [name, Object.fromEntries(pair)];
  });
  return Object.fromEntries(limits);
};

/** Read for its limits and counts only; `compose-file-limits.ts` turns it into keys that every Compose knows. */
export const deploy = (value: Value): Rendered => {
  const fields = value.fields(['resources', 'replicas', 'restart_policy', 'labels', 'mode']);
  fields.get('mode')?.oneOf(['replicated']);
  fields.get('replicas')?.integer(0, REPLICAS_MAX);
  const resources = fields.get('resources')?.fields(['limits', 'reservations']);
  const limits = resources?.get('limits')?.fields(['cpus', 'memory', 'pids']);
  limits?.get('cpus')?.number();
  limits?.get('pids')?.integer(-1, 4_194_304);
  const memory = limits?.get('memory');
  if (memory !== undefined) size(memory);
  resources?.get('reservations')?.fields(['cpus', 'memory']);
  const policy = fields.get('restart_policy')?.fields(['condition', 'delay', 'max_attempts', 'window']);
  policy?.get('condition')?.oneOf(['none', 'on-failure', 'any']);
  policy?.get('max_attempts')?.integer(0, 1_000_000);
  return value.plain() as Rendered;
};
