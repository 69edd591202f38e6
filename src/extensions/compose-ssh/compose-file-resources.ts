/** What stands beside the services of a file: volumes, networks, configs and secrets, made for this sandbox alone. */
import { labels } from './compose-file-keys.ts';
import { type Findings, type Rendered, workspaceFile } from './compose-file-mounts.ts';
import type { Value } from './compose-file-value.ts';

export type Definition = Readonly<Record<string, Rendered>>;

const NOT_OURS: Readonly<Record<string, string>> = {
  external: 'belongs to somebody else on the host; declare one of this file',
  name: "could be the name of somebody else's on the host; remove it",
  driver_opts: 'could reach into the host; remove it',
};

/** A volume or network: made for this sandbox alone, by the ordinary driver, without options. */
export function plainResource(item: Value, driver: string, known: readonly string[]): Definition {
  if (item.isNull) return {};
  const entries = item.entries();
  for (const [key, value] of entries) {
    const reason = NOT_OURS[key];
    if (reason !== undefined && !(key === 'external' && value.text() === 'false'))
      value.refuse(`\`${key}\` ${reason}.`);
  }
  const fields = new Map([...entries].filter(([key]) => !key.startsWith('x-') && key !== 'external'));
  const unknown = [...fields].find(([key]) => !known.includes(key) && key !== 'driver' && key !== 'labels');
  unknown?.[1].refuse(`\`${unknown[0]}\` is not supported; remove it.`);
  fields.get('driver')?.oneOf([driver, 'default']);
  const kept = known
    .filter((key) => fields.has(key))
    .map((key): [string, Rendered] => [key, fields.get(key)!.boolean()]);
  const marks = fields.get('labels');
  return { ...Object.fromEntries(kept), ...(marks === undefined ? {} : { labels: labels(marks) }) };
}

/** A config or secret: a file of the workspace, or text. */
export function fileResource(item: Value, findings: Pick<Findings, 'binds' | 'paths'>): Definition {
  const fields = item.entries();
  for (const [key, value] of fields)
    if (!['file', 'content'].includes(key))
      value.refuse(`\`${key}\` is not supported; use \`file\` with a path of the workspace.`);
  const file = fields.get('file');
  if (file === undefined)
    return { content: (fields.get('content') ?? item.refuse('A `file` is needed.')).text() };
  const path = workspaceFile(file, findings);
  findings.binds.push({ path: path.path, isWritable: false, value: file });
  return { file: path };
}
