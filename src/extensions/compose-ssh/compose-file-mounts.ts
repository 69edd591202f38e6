/** What of the host a container may see: named volumes of the stack, and paths inside the workspace. */
import { posix } from 'node:path';
import type { Value } from './compose-file-value.ts';

const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
const MODES = ['ro', 'rw', 'z', 'Z', 'nocopy', 'cached', 'delegated', 'consistent'];
const TMPFS_OPTION = /^(rw|ro|exec|noexec|nosuid|nodev|(size|mode|uid|gid|nr_inodes)=[0-9a-zA-Z%]+)$/;
const ENGINE_SOCKET = /(^|\/)(docker|podman|containerd|crio)\.sock$/;

/** A path in the workspace; where that lies on the host is known when the file is written. */
export class WorkspacePath {
  /** Relative, normalized: `.` or `a/b`. */
  readonly path: string;
  /** What follows the path in the same word, such as `:/target:ro`. */
  readonly suffix: string;

  constructor(path: string, suffix = '') {
    this.path = path;
    this.suffix = suffix;
  }
}

export type Rendered =
  | string
  | number
  | boolean
  | null
  | WorkspacePath
  | readonly Rendered[]
  | { readonly [key: string]: Rendered };

export interface Bind {
  readonly path: string;
  readonly isWritable: boolean;
  readonly value: Value;
}

/** What the checks of one service find on their way. */
export interface Findings {
  readonly binds: Bind[];
  readonly paths: Set<string>;
  readonly namedVolumes: Map<string, Value>;
}

/**
 * `text` as a path inside the workspace, or a refusal. As Compose does, it begins where the file lies unless `base` says
 * otherwise. Links are not looked at here.
 */
export function insidePath(value: Value, text: string, base = posix.dirname(value.context.file)): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: no path of ours holds them
  if (text === '' || /[\u0000-\u001f\u007f\\:,]/.test(text))
    value.refuse(`\`${value.name}\`: a path cannot hold commas, colons, backslashes or control characters.`);
  const normal = posix.normalize(posix.join(base, text)).replace(/(?<=.)\/$/, '');
  const isOutside = /^[/~]/.test(text) || normal === '..' || normal.startsWith('../');
  if (isOutside)
    value.refuse(`\`${value.name}\` leads out of the workspace with "${text}"; use a path inside it.`);
  return normal;
}

export function workspaceFile(value: Value, findings: Pick<Findings, 'paths'>): WorkspacePath {
  const path = insidePath(value, value.text());
  findings.paths.add(path);
  return new WorkspacePath(path);
}

function target(value: Value, text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: no path of ours holds them
  if (!text.startsWith('/') || /[\u0000-\u001f\u007f:,]/.test(text))
    value.refuse(
      `\`${value.name}\`: a mount needs an absolute path in the container, without commas and colons.`,
    );
  return text;
}

/** A bind of something outside of the workspace, which the profile must have allowed. */
function hostBind(value: Value, source: string): string {
  const { allowed } = value.context;
  if (ENGINE_SOCKET.test(posix.normalize(source))) {
    if (!allowed.has('docker_socket'))
      value.refuse(
        `\`${value.name}\` mounts the container engine's socket, which gives away the host; remove it.`,
      );
    return posix.normalize(source);
  }
  if (!allowed.has('host_binds'))
    value.refuse(
      `\`${value.name}\` mounts "${source}" of the host; use a named volume or a path below \`./\`.`,
    );
  if (!source.startsWith('/'))
    value.refuse(`\`${value.name}\`: write the host's path in full, from \`/\` on.`);
  return posix.normalize(source);
}

function bindSource(value: Value, source: string, suffix: string, isWritable: boolean, findings: Findings) {
  if (/^[/~]/.test(source)) return `${hostBind(value, source)}${suffix}`;
  const path = insidePath(value, source);
  findings.paths.add(path);
  findings.binds.push({ path, isWritable, value });
  return new WorkspacePath(path, suffix);
}

function namedVolume(value: Value, source: string, findings: Findings): string {
  if (!VOLUME_NAME.test(source))
    value.refuse(
      `\`${value.name}\`: "${source}" is neither a volume's name nor a path that begins with \`./\`.`,
    );
  findings.namedVolumes.set(source, value);
  return source;
}

function shortVolume(value: Value, findings: Findings): Rendered {
  const parts = value.text().split(':');
  const [first = '', second, mode] = parts;
  if (parts.length > 3) value.refuse(`\`${value.name}\` must be SOURCE:TARGET:MODE.`);
  if (second === undefined) return target(value, first);
  const modes = mode === undefined ? [] : mode.split(',');
  const bad = modes.find((word) => !MODES.includes(word));
  if (bad !== undefined) value.refuse(`\`${value.name}\` has the mode "${bad}", which is not supported.`);
  const suffix = [`:${target(value, second)}`, ...(mode === undefined ? [] : [`:${mode}`])].join('');
  if (/^[./~]/.test(first)) return bindSource(value, first, suffix, !modes.includes('ro'), findings);
  return `${namedVolume(value, first, findings)}${suffix}`;
}

const LONG_FIELDS = ['type', 'source', 'target', 'read_only', 'consistency', 'bind', 'volume', 'tmpfs'];

function longSource(
  type: string,
  isReadOnly: boolean,
  fields: Map<string, Value>,
  value: Value,
  findings: Findings,
) {
  const source = fields.get('source');
  if (type === 'tmpfs')
    return source === undefined ? {} : source.refuse('A tmpfs has no `source`; remove it.');
  if (type === 'volume')
    return source === undefined ? {} : { source: namedVolume(source, source.text(), findings) };
  if (source === undefined) return value.refuse(`\`${value.name}\`: a bind needs a \`source\`.`);
  return { source: bindSource(source, source.text(), '', !isReadOnly, findings) };
}

function longVolume(value: Value, findings: Findings): Rendered {
  const fields = value.fields(LONG_FIELDS);
  const type = fields.get('type')?.oneOf(['bind', 'volume', 'tmpfs']) ?? 'volume';
  const where = fields.get('target') ?? value.refuse(`\`${value.name}\` needs a \`target\`.`);
  const isReadOnly = fields.get('read_only')?.boolean() ?? false;
  const options: Record<string, Rendered> = {};
  const bind = fields.get('bind')?.fields(['create_host_path', 'selinux']);
  if (bind?.has('create_host_path'))
    options.bind = { create_host_path: bind.get('create_host_path')!.boolean() };
  const volume = fields.get('volume')?.fields(['nocopy']);
  if (volume?.has('nocopy')) options.volume = { nocopy: volume.get('nocopy')!.boolean() };
  const size = fields.get('tmpfs')?.fields(['size', 'mode']).get('size')?.text();
  if (size !== undefined) options.tmpfs = { size: /^\d+$/.test(size) ? Number(size) : size };
  return {
    type,
    ...longSource(type, isReadOnly, fields, value, findings),
    target: target(where, where.text()),
    ...(isReadOnly ? { read_only: true } : {}),
    ...options,
  };
}

export function volumes(value: Value, findings: Findings): Rendered {
  return value.items().map((item) => (item.isMap ? longVolume(item, findings) : shortVolume(item, findings)));
}

export function tmpfs(value: Value): Rendered {
  return value.oneOrMore().map((item) => {
    const [path = '', options, more] = item.text().split(':');
    const bad = options?.split(',').find((option) => !TMPFS_OPTION.test(option));
    if (bad !== undefined || more !== undefined)
      item.refuse(`\`${item.name}\` has the option "${bad ?? more}", which is not supported.`);
    return target(item, path) + (options === undefined ? '' : `:${options}`);
  });
}

/** `configs` or `secrets` of a service: names, or mappings with a `source`. Both are mounted into it from a file. */
export function mountedFiles(value: Value): {
  readonly rendered: Rendered;
  readonly names: Map<string, Value>;
} {
  const names = new Map<string, Value>();
  const rendered = value.items().map((item): Rendered => {
    if (!item.isMap) {
      names.set(item.text(), item);
      return item.text();
    }
    const fields = item.fields(['source', 'target', 'uid', 'gid', 'mode']);
    const source = fields.get('source') ?? item.refuse(`\`${item.name}\` needs a \`source\`.`);
    names.set(source.text(), source);
    for (const field of fields.values())
      field.matching(/^[\w./-]+$/, 'use letters, digits, `.`, `/`, `-` and `_`.');
    return item.plain() as Rendered;
  });
  return { rendered, names };
}

/**
 * Refuses a mounted path below a directory that some service may write to: it could be replaced by a link to anywhere,
 * and the engine would follow that at the next start.
 */
export function refuseNestedBinds(binds: readonly Bind[]): void {
  for (const inner of binds) {
    if (inner.value.context.allowed.has('nested_binds')) return;
    const outer = binds.find(({ path, isWritable }) => {
      const prefix = path === '.' ? '' : `${path}/`;
      return isWritable && path !== inner.path && inner.path !== '.' && inner.path.startsWith(prefix);
    });
    if (outer !== undefined)
      inner.value.refuse(
        `"./${inner.path}" is mounted by itself and lies inside "./${outer.path === '.' ? '' : outer.path}", which a service may write to; mount that one with \`:ro\`, or only one of them.`,
      );
  }
}
