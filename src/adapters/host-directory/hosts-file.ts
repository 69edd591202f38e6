import { readFileSync, statSync } from 'node:fs';
import { z } from 'zod';
import { SandboxerError } from '../../domain/errors.ts';
import { type Host, hostSchema } from '../../domain/host/host.ts';
import { LIMITS } from '../../domain/limits.ts';
import { type ParsedYaml, parseYaml } from '../yaml/parse.ts';

const hostsSchema = z
  .array(hostSchema)
  .max(LIMITS.hostCount)
  .nullable()
  .superRefine((hosts, context) => {
    const seen = new Set<string>();
    for (const [index, { name }] of (hosts ?? []).entries()) {
      if (seen.has(name)) {
        context.addIssue({ code: 'custom', path: [index, 'name'], message: `"${name}" is there twice` });
      }
      seen.add(name);
    }
  });

type Parsed = ParsedYaml<readonly Host[] | null>;

/** The text of a `hosts.yaml`: a list of hosts, or nothing. */
export function parseHosts(file: string, text: string): Parsed {
  return parseYaml(file, text, { schema: hostsSchema, name: 'hosts' });
}

/** `hosts.yaml`, read again when it changes. */
export class HostsFile {
  readonly path: string;
  #stamp = '';
  #parsed: Parsed = { ok: true, value: null };

  constructor(path: string) {
    this.path = path;
  }

  /** Nothing where there is no file. Throws `invalid_hosts`. */
  hosts(): readonly Host[] {
    const status = statSync(this.path, { throwIfNoEntry: false });
    if (status === undefined) return [];
    const stamp = `${status.mtimeMs}/${status.size}/${status.ino}`;
    if (stamp !== this.#stamp) {
      this.#parsed = this.#read(status.size);
      this.#stamp = stamp;
    }
    if (this.#parsed.ok) return this.#parsed.value ?? [];
    throw new SandboxerError('invalid_hosts', this.#parsed.problems.join('\n'), {
      nextStep: 'Mend the file; docs/guides/hosts.md shows its shape.',
    });
  }

  #read(sizeBytes: number): Parsed {
    try {
      const tooLarge = sizeBytes > LIMITS.profileFileBytes;
      const text = tooLarge ? ' '.repeat(LIMITS.profileFileBytes + 1) : readFileSync(this.path, 'utf8');
      return parseHosts(this.path, text);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return { ok: false, problems: [`${this.path}:1:1 cannot be read: ${reason}`] };
    }
  }
}
