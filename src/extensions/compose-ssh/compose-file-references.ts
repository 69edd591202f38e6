/** Keys of a service that name other things of the file: each name is noted, and looked up when all are known. */
import { type Findings, mountedFiles, type Rendered } from './compose-file-mounts.ts';
import type { Value } from './compose-file-value.ts';

export interface Use {
  readonly kind: 'services' | 'networks' | 'configs' | 'secrets';
  readonly name: string;
  readonly value: Value;
}

export interface ServiceFindings extends Findings {
  readonly ports: Set<number>;
  /** Names that must exist elsewhere in the file, with where they were used. */
  readonly uses: Use[];
}

/** Undefined leaves the key out. */
export type Check = (value: Value, findings: ServiceFindings) => Rendered | undefined;

const use = (value: Value, kind: Use['kind'], name: string, findings: ServiceFindings) => {
  findings.uses.push({ kind, name, value });
  return name;
};

export const dependsOn: Check = (value, findings) => {
  if (!value.isMap) return value.items().map((item) => use(item, 'services', item.text(), findings));
  const rendered = [...value.entries()].map(([name, item]): [string, Rendered] => {
    use(item, 'services', name, findings);
    item.fields(['condition', 'restart', 'required']);
    return [name, item.plain() as Rendered];
  });
  return Object.fromEntries(rendered);
};

export const networks: Check = (value, findings) => {
  if (!value.isMap) return value.items().map((item) => use(item, 'networks', item.text(), findings));
  const rendered = [...value.entries()].map(([name, item]): [string, Rendered] => {
    use(item, 'networks', name, findings);
    if (item.isNull) return [name, null];
    const aliases = item.fields(['aliases', 'priority']).get('aliases');
    if (aliases === undefined) return [name, null];
    const names = aliases
      .items()
      .map((alias) => alias.matching(/^[\w.-]+$/, 'use letters, digits, `.` and `-`.'));
    return [name, { aliases: names }];
  });
  return Object.fromEntries(rendered);
};

export const networkMode: Check = (value, findings) => {
  const mode = value.text();
  if (mode === 'none') return mode;
  if (mode === 'host' && value.context.allowed.has('host_network')) return mode;
  if (mode.startsWith('service:')) {
    use(value, 'services', mode.slice('service:'.length), findings);
    return mode;
  }
  return value.refuse('`network_mode` may be `none` or `service:NAME`; use `networks` for the rest.');
};

export const extendsService: Check = (value, findings) => {
  if (!value.isMap) return { service: use(value, 'services', value.text(), findings) };
  const file = value.entries().get('file');
  file?.refuse('`extends` may name a service of this file only; remove `file` and bring the service here.');
  const service = value.fields(['service']).get('service') ?? value.refuse('`extends` needs a `service`.');
  return { service: use(service, 'services', service.text(), findings) };
};

export const mounted =
  (kind: 'configs' | 'secrets'): Check =>
  (value, findings) => {
    const { rendered, names } = mountedFiles(value);
    for (const [name, item] of names) use(item, kind, name, findings);
    return rendered;
  };
