/** The file that Compose gets: written anew from what was checked, for Compose 1.29 and 2 and podman-compose alike. */
import { stringify } from 'yaml';
import { ExtensionError } from '../../ports/extension.ts';
import type { CheckedService, CheckedStack } from './compose-file.ts';
import { type Rendered, WorkspacePath } from './compose-file-mounts.ts';

export const NAME_LABEL = 'sandboxer.name';
export const EPOCH_LABEL = 'sandboxer.epoch';
export const TAG_LABEL_PREFIX = 'sandboxer.tag.';

const CONTAINERS_MAX = 128;
const MEMORY_MB_MIN = 6;
const PROCESSES_MIN = 2;
const MEBIBYTE = 1024 * 1024;
const UNIT_BYTES: Readonly<Record<string, number>> = { b: 1, k: 1024, m: MEBIBYTE, g: 1024 * MEBIBYTE };

export interface RenderOptions {
  readonly name: string;
  readonly epoch: number;
  readonly tags: Readonly<Record<string, string>>;
  /** Where the workspace lies on the host; absolute. */
  readonly workspaceDirectory: string;
  /** For the sandbox as a whole; null is no limit. */
  readonly memoryMb: number | null;
  readonly cpu: number | null;
  readonly processes: number | null;
  /** No way out: every network is internal. */
  readonly networkDeny: boolean;
}

type Mapping = Record<string, Rendered>;
/** As far as `compose-file-keys.ts` let it through. */
interface Deploy {
  readonly resources?: {
    readonly limits?: { readonly memory?: string; readonly cpus?: string | number; readonly pids?: number };
  };
  readonly restart_policy?: { readonly condition?: string; readonly max_attempts?: number };
}

const deployOf = ({ definition }: CheckedService): Deploy => (definition.deploy ?? {}) as Deploy;

const positive = (value: unknown) => {
  const number = Number(value ?? Number.NaN);
  return number > 0 ? number : Number.POSITIVE_INFINITY;
};

/** Nothing and 0 are no limit. */
function bytesOf(size: Rendered | undefined): number {
  const [, number, unit] = /^([0-9.]+)([bkmg]?)b?$/i.exec(String(size ?? '')) ?? [];
  return positive(Number(number) * UNIT_BYTES[unit?.toLowerCase() || 'b']!);
}

/** One container's part of what the sandbox may use, or less where the file says less. */
function limits(service: CheckedService, containers: number, options: RenderOptions): Mapping {
  const { definition } = service;
  const asked = deployOf(service).resources?.limits;
  const memoryMb = Math.min(
    options.memoryMb === null ? Number.POSITIVE_INFINITY : Math.floor(options.memoryMb / containers),
    Math.floor(Math.min(bytesOf(definition.mem_limit), bytesOf(asked?.memory)) / MEBIBYTE),
  );
  const cpus = Math.min(
    options.cpu === null ? Number.POSITIVE_INFINITY : Math.floor((options.cpu * 100) / containers) / 100,
    positive(definition.cpus),
    positive(asked?.cpus),
  );
  const processes = Math.min(
    options.processes === null ? Number.POSITIVE_INFINITY : Math.floor(options.processes / containers),
    positive(definition.pids_limit),
    positive(asked?.pids),
  );
  if (memoryMb < MEMORY_MB_MIN || cpus < 0.01 || processes < PROCESSES_MIN)
    throw new ExtensionError(
      'invalid',
      `The limits of the profile are too small for the ${containers} containers of the Compose file.`,
    );
  return {
    ...(Number.isFinite(memoryMb) ? { mem_limit: `${memoryMb}m`, memswap_limit: `${memoryMb}m` } : {}),
    ...(Number.isFinite(cpus) ? { cpus } : {}),
    ...(Number.isFinite(processes) ? { pids_limit: processes } : {}),
  };
}

function restart(service: CheckedService): Mapping {
  const policy = deployOf(service).restart_policy;
  if (service.definition.restart !== undefined || policy === undefined) return {};
  const attempts = policy.max_attempts === undefined ? '' : `:${policy.max_attempts}`;
  if (policy.condition === 'none') return { restart: 'no' };
  return { restart: policy.condition === 'on-failure' ? `on-failure${attempts}` : 'always' };
}

/** An image that is built has a name and a label of this sandbox: no tag of somebody else's is moved, and all is found again. */
function built(service: CheckedService, options: RenderOptions): Mapping {
  if (!service.builds) return {};
  const image = { image: `${options.name}-${service.name.toLowerCase()}` };
  const { build } = service.definition;
  if (build === undefined) return image; // inherited from the service that it extends
  const given =
    typeof build === 'object' && !(build instanceof WorkspacePath) ? (build as Mapping) : { context: build };
  const labels = { ...(given.labels as Mapping | undefined), [NAME_LABEL]: options.name };
  return { ...image, build: { ...given, labels, ...(options.networkDeny ? { network: 'none' } : {}) } };
}

function serviceMapping(
  service: CheckedService,
  containers: number,
  marks: Mapping,
  options: RenderOptions,
): Mapping {
  const { deploy, labels, ...rest } = service.definition;
  if (options.networkDeny && rest.network_mode === 'host')
    throw new ExtensionError(
      'invalid',
      `service "${service.name}" uses the host's network, which the profile denies.`,
    );
  return {
    ...rest,
    ...built(service, options),
    ...(service.replicas === 1 && rest.extends === undefined ? {} : { scale: service.replicas }),
    ...restart(service),
    ...limits(service, containers, options),
    labels: { ...(labels as Mapping | undefined), ...marks },
  };
}

function resources(definitions: Readonly<Record<string, Mapping>>, marks: Mapping, more: Mapping): Mapping {
  const marked = Object.entries(definitions).map(([name, { labels, ...rest }]): [string, Mapping] => [
    name,
    { ...rest, ...more, labels: { ...(labels as Mapping | undefined), ...marks } },
  ]);
  return Object.fromEntries(marked);
}

/** Paths made absolute, and every `$` doubled, because nothing is left to fill in. */
function settled(value: Rendered, workspace: string): unknown {
  if (typeof value === 'string') return value.replaceAll('$', '$$$$');
  if (value === null || typeof value !== 'object') return value;
  if (value instanceof WorkspacePath) {
    const path = value.path === '.' ? workspace : `${workspace}/${value.path}`;
    return `${path}${value.suffix}`.replaceAll('$', '$$$$');
  }
  if (Array.isArray(value)) return value.map((item) => settled(item, workspace));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, settled(item, workspace)]));
}

/**
 * The one file to give to Compose with `-f`, kept outside of the workspace. It publishes no port, labels everything,
 * and gives each container an equal part of the sandbox's limits. All paths in it are absolute.
 */
export function renderStack(stack: CheckedStack, options: RenderOptions): string {
  const workspace = options.workspaceDirectory.replace(/(?<=.)\/+$/, '');
  if (!workspace.startsWith('/') || /[:\0\n]/.test(workspace))
    throw new ExtensionError(
      'invalid',
      'The directory of the workspace must be an absolute path without a colon.',
    );
  const marks: Mapping = {
    [NAME_LABEL]: options.name,
    [EPOCH_LABEL]: String(options.epoch),
    ...Object.fromEntries(
      Object.entries(options.tags).map(([key, tag]) => [`${TAG_LABEL_PREFIX}${key}`, tag]),
    ),
  };
  const containers = Math.max(
    1,
    stack.services.reduce((sum, service) => sum + service.replicas, 0),
  );
  if (containers > CONTAINERS_MAX)
    throw new ExtensionError(
      'invalid',
      `A stack has at most ${CONTAINERS_MAX} containers, not ${containers}.`,
    );
  const { volumes, networks, configs, secrets } = stack.definitions;
  const deny = options.networkDeny ? { internal: true } : {};
  const services = stack.services.map((service): [string, Mapping] => [
    service.name,
    serviceMapping(service, containers, marks, options),
  ]);
  const file: Mapping = {
    services: Object.fromEntries(services),
    networks: resources({ default: {}, ...networks }, marks, deny),
    ...(stack.volumes.length === 0 ? {} : { volumes: resources(volumes, marks, {}) }),
    ...(Object.keys(configs).length === 0 ? {} : { configs }),
    ...(Object.keys(secrets).length === 0 ? {} : { secrets }),
  };
  return stringify(settled(file, workspace), {
    defaultStringType: 'QUOTE_DOUBLE',
    defaultKeyType: 'QUOTE_DOUBLE',
    lineWidth: 0,
    aliasDuplicateObjects: false,
  });
}
