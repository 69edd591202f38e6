/**
 * A user's Compose file, checked against a list of what is allowed. Nothing of the user's text reaches Compose: what was
 * understood here is written anew (`compose-file-render.ts`), so that no reader of YAML can see something else in it.
 */
import { type Bind, type Rendered, refuseNestedBinds } from './compose-file-mounts.ts';
import type { ServiceFindings, Use } from './compose-file-references.ts';
import { type Definition, fileResource, plainResource } from './compose-file-resources.ts';
import { checkService } from './compose-file-service.ts';
import { readTree } from './compose-file-tree.ts';
import { type FileContext, Value, type Variables } from './compose-file-value.ts';

const SERVICES_MAX = 64;
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/;

/** What a profile may allow by name, besides keys of a service such as `privileged` or `cap_add`. */
export const ALLOWED_NAMES = [
  'host_binds',
  'docker_socket',
  'host_network',
  'host_gateway',
  'nested_binds',
] as const;

export interface CheckedService {
  readonly name: string;
  readonly image: string | null;
  readonly builds: boolean;
  /** Of the container, from `ports` and `expose`. */
  readonly ports: readonly number[];
  readonly namedVolumes: readonly string[];
  readonly hasHealthcheck: boolean;
  /** How many containers of it there will be. */
  readonly replicas: number;
  /** Without `ports`: nothing is published on the host. */
  readonly definition: Definition;
}

export interface CheckedStack {
  readonly file: string;
  readonly services: readonly CheckedService[];
  /** Of the named volumes. */
  readonly volumes: readonly string[];
  readonly networks: readonly string[];
  /** Paths of the workspace that the engine or Compose will open on the host; none may be or lead through a link. */
  readonly workspacePaths: readonly string[];
  readonly definitions: {
    readonly volumes: Readonly<Record<string, Definition>>;
    readonly networks: Readonly<Record<string, Definition>>;
    readonly configs: Readonly<Record<string, Definition>>;
    readonly secrets: Readonly<Record<string, Definition>>;
  };
}

/** Every thing of one kind, each spoken of by its name. */
function section<T>(
  root: ReadonlyMap<string, Value>,
  key: string,
  check: (item: Value, name: string) => T,
): Record<string, T> {
  const value = root.get(key);
  if (value === undefined || value.isNull) return {};
  const things = [...value.entries()].map(([name, item]): [string, T] => {
    const thing = item.under(`${key.replace(/s$/, '')} "${name}"`);
    if (!NAME.test(name)) thing.refuse('the name may have letters, digits, `_`, `.` and `-` only.');
    return [name, check(thing, name)];
  });
  return Object.fromEntries(things);
}

function isChecked(check: Rendered | undefined): boolean {
  const { test, disable } = (check ?? {}) as { test?: Rendered; disable?: boolean };
  if (test === undefined || disable === true) return false;
  return !(Array.isArray(test) && test[0] === 'NONE');
}

/** What a service has under `key`, itself or from the one that it extends. */
function inherited(
  definitions: Readonly<Record<string, Definition>>,
  name: string,
  key: string,
): Rendered | undefined {
  const seen = new Set<string>();
  let current: string | undefined = name;
  while (current !== undefined && !seen.has(current)) {
    seen.add(current);
    const definition: Definition | undefined = definitions[current];
    if (definition?.[key] !== undefined) return definition[key];
    current = (definition?.extends as { service?: string } | undefined)?.service;
  }
  return undefined;
}

function replicaCount(definitions: Readonly<Record<string, Definition>>, name: string): number {
  const deploy = inherited(definitions, name, 'deploy') as { replicas?: number | string } | undefined;
  return Number(inherited(definitions, name, 'scale') ?? deploy?.replicas ?? 1);
}

function refuseUnknown(uses: readonly Use[], stack: Readonly<Record<Use['kind'], object>>): void {
  for (const { kind, name, value } of uses) {
    const isThere = Object.hasOwn(stack[kind], name) || (kind === 'networks' && name === 'default');
    if (!isThere)
      value.refuse(`\`${value.name}\` names "${name}", which is not among the file's \`${kind}\`.`);
  }
}

/** The services in the file's order, with what each needs. */
function services(
  root: ReadonlyMap<string, Value>,
  shared: Pick<ServiceFindings, 'binds' | 'paths' | 'uses'>,
) {
  const findings = new Map<string, ServiceFindings>();
  const places = new Map<string, Value>();
  const definitions = section(root, 'services', (item, name) => {
    const own = { ...shared, ports: new Set<number>(), namedVolumes: new Map<string, Value>() };
    findings.set(name, own);
    places.set(name, item);
    return checkService(item, own);
  });
  const checked = Object.entries(definitions).map(([name, definition]): CheckedService => {
    const image = inherited(definitions, name, 'image');
    const builds = inherited(definitions, name, 'build') !== undefined;
    if (image === undefined && !builds) places.get(name)!.refuse('it needs an `image` or a `build`.');
    return {
      name,
      image: typeof image === 'string' ? image : null,
      builds,
      ports: [...findings.get(name)!.ports].sort((left, right) => left - right),
      namedVolumes: [...findings.get(name)!.namedVolumes.keys()],
      hasHealthcheck: isChecked(inherited(definitions, name, 'healthcheck')),
      replicas: replicaCount(definitions, name),
      definition,
    };
  });
  return { checked, definitions, findings: [...findings.values()] };
}

const TOP_KEYS = ['version', 'name', 'services', 'volumes', 'networks', 'configs', 'secrets'];

function readRoot(text: string, context: FileContext): ReadonlyMap<string, Value> {
  const file = new Value(context, '', 'file', readTree(text, context.file));
  const root = new Map([...file.entries()].filter(([key]) => !key.startsWith('x-')));
  for (const [key, value] of root)
    if (!TOP_KEYS.includes(key))
      value.refuse(`\`${key}\` is not supported at the top of the file; remove it.`);
  const list = root.get('services') ?? file.refuse('The file has no `services`.');
  const count = list.entries().size;
  if (count < 1 || count > SERVICES_MAX) list.refuse(`There must be 1 to ${SERVICES_MAX} services.`);
  return root;
}

/**
 * Checks a Compose file. `allowed` are names that the profile allows: keys of a service, and `ALLOWED_NAMES`.
 * `variables` fill in `${…}` and names without a value; the environment of the host is never asked, so a file cannot
 * read what is in it. Refusals are `invalid`, with file, line, service and what to do.
 */
export function checkComposeFile(
  text: string,
  file: string,
  allowed: ReadonlySet<string>,
  variables: Variables = {},
): CheckedStack {
  const root = readRoot(text, { file, allowed, variables });
  const shared = { binds: [] as Bind[], paths: new Set<string>(), uses: [] as Use[] };
  const { checked, definitions, findings } = services(root, shared);
  const volumes = section(root, 'volumes', (item) => plainResource(item, 'local', []));
  const networks = section(root, 'networks', (item) =>
    plainResource(item, 'bridge', ['internal', 'attachable', 'enable_ipv6']),
  );
  const configs = section(root, 'configs', (item) => fileResource(item, shared));
  const secrets = section(root, 'secrets', (item) => fileResource(item, shared));
  refuseUnknown(shared.uses, { services: definitions, networks, configs, secrets });
  for (const { namedVolumes } of findings) {
    for (const [name, value] of namedVolumes)
      if (!Object.hasOwn(volumes, name))
        value.refuse(`the volume "${name}" is not among the file's \`volumes\`.`);
  }
  refuseNestedBinds(shared.binds);
  return {
    file,
    services: checked,
    volumes: Object.keys(volumes),
    networks: Object.keys(networks),
    workspacePaths: [...shared.paths].sort(),
    definitions: { volumes, networks, configs, secrets },
  };
}
