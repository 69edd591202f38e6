/** The keys that a service may have, and how each is checked. What is not listed here is refused. */
import { nearestName } from '../../domain/text.ts';
import {
  assignments,
  boolean,
  containerPorts,
  deploy,
  duration,
  extraHosts,
  healthcheck,
  labels,
  logging,
  securityOpt,
  size,
  text,
  textOrTexts,
  texts,
  ulimits,
} from './compose-file-keys.ts';
import {
  insidePath,
  type Rendered,
  tmpfs,
  volumes,
  WorkspacePath,
  workspaceFile,
} from './compose-file-mounts.ts';
import {
  type Check,
  dependsOn,
  extendsService,
  mounted,
  networkMode,
  networks,
  type ServiceFindings,
} from './compose-file-references.ts';
import type { Value } from './compose-file-value.ts';

const REMOTE_CONTEXT = /^(https?|git|ssh):|^git@|^github\.com\/|:/;

function build(value: Value, findings: ServiceFindings): Rendered {
  const fields = value.isMap
    ? value.fields([
        'context',
        'dockerfile',
        'dockerfile_inline',
        'args',
        'target',
        'labels',
        'shm_size',
        'pull',
        'no_cache',
        'platforms',
      ])
    : new Map([['context', value]]);
  const context = fields.get('context') ?? value.refuse('`build` needs a `context`; `.` is the workspace.');
  const place = context.text();
  if (REMOTE_CONTEXT.test(place))
    context.refuse('`build` must use a directory of the workspace, such as `.`.');
  const directory = insidePath(context, place);
  findings.paths.add(directory);
  const rendered: Record<string, Rendered> = { context: new WorkspacePath(directory) };
  const dockerfile = fields.get('dockerfile');
  if (dockerfile !== undefined) {
    const path = insidePath(dockerfile, dockerfile.text(), directory);
    findings.paths.add(path);
    rendered.dockerfile = new WorkspacePath(path);
  }
  if (fields.has('args')) rendered.args = assignments(fields.get('args')!);
  if (fields.has('labels')) rendered.labels = labels(fields.get('labels')!);
  for (const name of ['dockerfile_inline', 'target', 'shm_size', 'platforms'])
    if (fields.has(name)) rendered[name] = textOrTexts(fields.get(name)!) ?? null;
  for (const name of ['pull', 'no_cache']) if (fields.has(name)) rendered[name] = fields.get(name)!.boolean();
  return rendered;
}

const ports: Check = (value, findings) => {
  for (const item of value.items()) for (const port of containerPorts(item)) findings.ports.add(port);
  return undefined;
};

const expose: Check = (value, findings) => {
  ports(value, findings);
  return texts(value);
};

const envFile: Check = (value, findings) =>
  value.oneOrMore().map((item): Rendered => {
    if (!item.isMap) return workspaceFile(item, findings);
    const fields = item.fields(['path', 'required', 'format']);
    const path = workspaceFile(fields.get('path') ?? item.refuse('`env_file` needs a `path`.'), findings);
    return fields.has('required') ? { path, required: fields.get('required')!.boolean() } : path;
  });

const SERVICE_KEYS: Readonly<Record<string, Check>> = {
  build,
  cap_drop: texts,
  command: textOrTexts,
  configs: mounted('configs'),
  cpus: (value) => value.number(),
  depends_on: dependsOn,
  deploy,
  dns: textOrTexts,
  dns_search: textOrTexts,
  entrypoint: textOrTexts,
  env_file: envFile,
  environment: assignments,
  expose,
  extends: extendsService,
  extra_hosts: extraHosts,
  healthcheck,
  hostname: (value) => value.matching(/^\w[\w.-]*$/, 'use letters, digits, `.` and `-`.'),
  image: (value) =>
    value.matching(/^(?!sbx-)[a-zA-Z0-9][\w./:@-]*$/, 'not the name of an image that a stack may use.'),
  init: boolean,
  labels,
  logging,
  mem_limit: size,
  network_mode: networkMode,
  networks,
  pids_limit: (value) => value.integer(1, 4_194_304),
  platform: text,
  ports,
  profiles: texts,
  pull_policy: (value) => value.oneOf(['always', 'never', 'missing', 'if_not_present', 'build']),
  read_only: boolean,
  restart: (value) => value.matching(/^(no|always|unless-stopped|on-failure(:\d{1,6})?)$/, 'no such policy.'),
  scale: (value) => value.integer(0, 64),
  secrets: mounted('secrets'),
  security_opt: securityOpt,
  shm_size: size,
  stdin_open: boolean,
  stop_grace_period: duration,
  stop_signal: text,
  tmpfs,
  tty: boolean,
  ulimits,
  user: text,
  volumes,
  working_dir: text,
};

/** Each passes as it is when a profile allows it by its name. */
const GRANTABLE_KEYS = [
  ...['cap_add', 'cgroup', 'cgroup_parent', 'device_cgroup_rules', 'devices', 'gpus', 'group_add', 'ipc'],
  ...['oom_score_adj', 'pid', 'privileged', 'runtime', 'security_opt', 'sysctls', 'userns_mode', 'uts'],
];

const REASONS: Readonly<Record<string, string>> = {
  container_name: 'would collide between sandboxes; remove it, the name of the service reaches it.',
  external_links: 'reaches containers outside of the sandbox; remove it.',
  links: 'is not needed; services reach each other by their names.',
  volumes_from: 'could reach containers outside of the sandbox; use a named volume.',
};

function refuseKey(key: string, value: Value): never {
  const reason = REASONS[key];
  if (reason !== undefined) return value.refuse(`\`${key}\` ${reason}`);
  if (GRANTABLE_KEYS.includes(key))
    return value.refuse(`\`${key}\` weakens the sandbox; remove it, or let the profile allow it by name.`);
  const nearest = nearestName(key, Object.keys(SERVICE_KEYS));
  const hint = nearest === null ? 'remove it' : `did you mean \`${nearest}\`?`;
  return value.refuse(`\`${key}\` is not supported; ${hint}${nearest === null ? '.' : ''}`);
}

function checkKey(key: string, value: Value, findings: ServiceFindings): Rendered | undefined {
  if (GRANTABLE_KEYS.includes(key) && value.context.allowed.has(key)) return value.plain() as Rendered;
  if (!Object.hasOwn(SERVICE_KEYS, key)) return refuseKey(key, value);
  return SERVICE_KEYS[key]!(value, findings);
}

/** Checks every key of a service; answers it as it is written into the file that the host gets. */
export function checkService(service: Value, findings: ServiceFindings): Record<string, Rendered> {
  const definition: Record<string, Rendered> = {};
  for (const [key, value] of service.entries()) {
    if (key.startsWith('x-')) continue;
    const rendered = checkKey(key, value, findings);
    if (rendered !== undefined) definition[key] = rendered;
  }
  return definition;
}
