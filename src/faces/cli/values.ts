/** From what commander parsed to the input of an operation. */
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { usageError } from './failure.ts';
import type { CommandSpec, FlagSpec, Values } from './spec.ts';

/** Inputs and arguments that name something on this machine: made absolute, for a server has another directory. */
const PATH_INPUTS = ['repo', 'image'];
const PATH_FIELDS = ['file', 'key_file'];

function absolute(path: string): string {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(path)) return path;
  return path.startsWith('~/') ? join(homedir(), path.slice(2)) : resolve(path);
}

function record(spec: FlagSpec, pairs: readonly string[], help: string): Record<string, string> {
  const result: Record<string, string> = {};
  const name = spec.flag.split(' ')[0];
  for (const pair of pairs) {
    const split = pair.indexOf('=');
    if (split < 1) throw usageError(`${name} takes name=value, and was given "${pair}".`, help);
    const key = pair.slice(0, split);
    const value = pair.slice(split + 1);
    result[key] = spec.field === 'inputs' && PATH_INPUTS.includes(key) ? absolute(value) : value;
  }
  return result;
}

function number(name: string, text: string, help: string): number {
  if (/^-?[0-9]{1,15}$/.test(text)) return Number(text);
  throw usageError(`${name} takes a whole number, and was given "${text}".`, help);
}

function flagValue(spec: FlagSpec, value: unknown, help: string): unknown {
  if (spec.kind === 'record') return record(spec, value as string[], help);
  if (spec.kind === 'number') return number(spec.flag.split(' ')[0]!, value as string, help);
  return PATH_FIELDS.includes(spec.field) ? absolute(value as string) : value;
}

/** Commander's key of a flag: `--run-id <name>` → `runId`, `--no-wait` → `wait`. */
export function flagKey(flag: string): string {
  const name = flag
    .split(' ')
    .find((word) => word.startsWith('--'))!
    .replace(/^--(no-)?/, '');
  return name.replaceAll(/-([a-z])/g, (_match, letter: string) => letter.toUpperCase());
}

export function gatherValues(
  spec: CommandSpec,
  positional: readonly (string | readonly string[] | undefined)[],
  options: Readonly<Record<string, unknown>>,
): Values {
  const help = `See: sandboxer ${spec.words.join(' ')} --help`;
  const values: Values = {};
  spec.arguments.forEach(({ field, kind }, index) => {
    const value = positional[index];
    if (value === undefined) return;
    if (kind === 'number') values[field] = number(field, value as string, help);
    else values[field] = PATH_FIELDS.includes(field) ? absolute(value as string) : value;
  });
  for (const flag of spec.flags) {
    const value = options[flagKey(flag.flag)];
    if (value === undefined || (flag.kind === 'negated' && value === true)) continue;
    values[flag.field] = flagValue(flag, value, help);
  }
  return values;
}
