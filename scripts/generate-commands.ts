/** The text of `src/faces/cli/commands.gen.ts`, from the operation table. */
import { z } from 'zod';
import type { ArgumentSpec, CommandSpec, FlagKind, FlagSpec } from '../src/faces/cli/spec.ts';
import type { CliBinding, Operation } from '../src/operations/operation.ts';
import { OPERATION_LIST } from '../src/operations/table.ts';

type Schema = z.core.JSONSchema.BaseSchema;

function fieldSchema(schema: Schema, field: string, operation: string): Schema {
  const found = schema.properties?.[field];
  if (typeof found === 'object') return found;
  throw new Error(`${operation}: the command line names the field "${field}", which its input lacks`);
}

/** The schema of one item, whether the field holds one or many. */
function itemSchema(schema: Schema): Schema {
  const alternatives = schema.anyOf ?? [schema];
  const list = alternatives.find((alternative) => alternative.type === 'array');
  return list !== undefined && typeof list.items === 'object' ? (list.items as Schema) : schema;
}

function isNumber(schema: Schema): boolean {
  return schema.type === 'integer' || schema.type === 'number';
}

function kindOf(flag: string, schema: Schema): FlagKind {
  if (flag.startsWith('--no-')) return 'negated';
  if (!flag.includes('<')) return 'boolean';
  if (schema.type === 'object') return 'record';
  if (flag.includes('...')) return 'list';
  return isNumber(schema) ? 'number' : 'text';
}

/** Shown beside the flag; what an empty record or `false` stands for needs no words. */
function defaultText(value: unknown): string | null {
  if (value === undefined || typeof value === 'boolean') return null;
  if (Array.isArray(value)) return value.join(' ');
  return typeof value === 'object' ? null : String(value);
}

function flagSpec(field: string, flag: string, schema: Schema, required: boolean): FlagSpec {
  const kind = kindOf(flag, schema);
  const choices = (itemSchema(schema).enum ?? []).map(String);
  return {
    field,
    flag: kind === 'record' ? flag.replace('...', '') : flag,
    kind,
    description: schema.description ?? '',
    required,
    default: defaultText(schema.default),
    choices: kind === 'text' || kind === 'list' ? choices : [],
  };
}

function argumentSpec(field: string, schema: Schema, required: boolean): ArgumentSpec {
  return {
    field,
    description: schema.description ?? '',
    variadic: schema.type === 'array',
    required,
    kind: isNumber(schema) ? 'number' : 'text',
  };
}

function commandSpec(operation: Operation, cli: CliBinding): CommandSpec {
  const schema = z.toJSONSchema(operation.input, { io: 'input', unrepresentable: 'any' }) as Schema;
  const required = schema.required ?? [];
  return {
    operation: operation.name,
    words: cli.command,
    summary: operation.summary,
    shape: operation.shape,
    arguments: cli.positional.map((field) =>
      argumentSpec(field, fieldSchema(schema, field, operation.name), required.includes(field)),
    ),
    flags: Object.entries(cli.flags).map(([field, flag]) =>
      flagSpec(field, flag, fieldSchema(schema, field, operation.name), required.includes(field)),
    ),
    examples: operation.examples,
  };
}

export function renderCommands(): string {
  const specs = OPERATION_LIST.flatMap((operation) =>
    typeof operation.cli === 'string' ? [] : [commandSpec(operation, operation.cli)],
  );
  return [
    '// Written by scripts/generate-commands.ts from the operation table. Change that, then run `npm run generate`.',
    "import type { CommandSpec } from './spec.ts';",
    '',
    'export const COMMANDS: readonly CommandSpec[] = [',
    ...specs.map((spec) => `  ${JSON.stringify(spec)},`),
    '];',
    '',
  ].join('\n');
}
