/** The reference pages, from the tables they describe: operations, errors, life cycle, profile, OpenAPI. */
import { z } from 'zod';
import { ERROR_REGISTRY } from '../src/domain/errors.ts';
import { profileSchema } from '../src/domain/profile/profile.ts';
import { EVENTS, STATES, TRANSITIONS } from '../src/domain/sandbox/lifecycle.ts';
import { RUN_STEPS } from '../src/domain/sandbox/runs.ts';
import { openApiDocument } from '../src/faces/http/openapi.ts';
import { packageVersion } from '../src/main.ts';
import type { Operation } from '../src/operations/operation.ts';
import { OPERATION_LIST } from '../src/operations/table.ts';

const NOTE = '<!-- Written by `npm run generate` from the tables in src. Change those. -->';

type JsonSchema = {
  properties?: Record<string, JsonSchema>;
  type?: string | string[];
  enum?: unknown[];
  description?: string;
  default?: unknown;
  anyOf?: JsonSchema[];
  items?: JsonSchema;
};

function typeName(schema: JsonSchema): string {
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${String(value)}\``).join(' ');
  if (schema.anyOf !== undefined) return [...new Set(schema.anyOf.map(typeName))].join(' or ');
  if (schema.type === 'array') return `list of ${typeName(schema.items ?? {})}`;
  return [schema.type ?? 'any'].flat().join(' or ');
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}

function inputRows(operation: Operation): string[] {
  const schema = z.toJSONSchema(operation.input, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
  return Object.entries(schema.properties ?? {}).map(([name, field]) => {
    const fallback = field.default === undefined ? '' : ` Default \`${JSON.stringify(field.default)}\`.`;
    return `| \`${name}\` | ${cell(typeName(field))} | ${cell(field.description ?? '')}.${fallback} |`;
  });
}

function operationSection(operation: Operation): string {
  const cli =
    typeof operation.cli === 'string'
      ? `none (${operation.cli})`
      : `\`sandboxer ${operation.cli.command.join(' ')}\``;
  const rows = inputRows(operation);
  return [
    `## ${operation.name}`,
    '',
    `${operation.summary}.`,
    '',
    `HTTP \`${operation.http.method} ${operation.http.path}\` · CLI ${cli} · scope \`${operation.scope}\` · effect ${operation.effect}` +
      `${operation.keyed ? ' · takes an Idempotency-Key' : ''} · answers ${operation.shape === 'call' ? 'JSON' : operation.shape}`,
    '',
    ...(rows.length === 0 ? [] : ['| input | type | meaning |', '|---|---|---|', ...rows, '']),
    `Errors: ${operation.errors.length === 0 ? 'the common ones' : operation.errors.map((code) => `\`${code}\``).join(' ')}`,
    '',
    '```',
    ...operation.examples,
    '```',
    '',
  ].join('\n');
}

function operationsPage(): string {
  const intro =
    'One table, `src/operations/table.ts`, gives every face its operations. Common errors: `invalid_request` `unauthenticated` `forbidden` `rate_limited` `store_unavailable` `internal`.';
  return [NOTE, '# Operations', '', intro, '', ...OPERATION_LIST.map(operationSection)].join('\n');
}

function errorsPage(): string {
  const rows = Object.entries(ERROR_REGISTRY).map(
    ([code, row]) =>
      `| \`${code}\` | ${row.httpStatus} | ${row.exitCode} | ${row.retryable ? 'yes' : 'no'} | ${row.fault} | ${row.summary} |`,
  );
  return [
    NOTE,
    '# Errors',
    '',
    'Every failure a face shows has a row in `src/domain/errors.ts`. HTTP answers are problem+json (RFC 9457) with `code`, `detail`, `next_step` and `cleaned_up`.',
    '',
    '| code | HTTP | exit | repeat? | fault | meaning |',
    '|---|---|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}

function lifecyclePage(): string {
  const edges = Object.entries(TRANSITIONS).flatMap(([from, events]) =>
    Object.entries(events).map(([event, to]) => `  ${from} --> ${to}: ${event}`),
  );
  const states = Object.entries(STATES).map(([name, row]) => {
    const age = row.maximumAgeMs === null ? '' : `${row.maximumAgeMs / 60_000} min`;
    return `| \`${name}\` | ${row.meaning} | ${row.usable ? 'yes' : ''} | ${row.expires ? 'yes' : ''} | ${age} |`;
  });
  const events = Object.entries(EVENTS).map(([name, meaning]) => `| \`${name}\` | ${meaning} |`);
  const runs = Object.entries(RUN_STEPS).map(([kind, steps]) => `| \`${kind}\` | ${steps.join(' → ')} |`);
  return [
    NOTE,
    '# The life of a sandbox',
    '',
    '```mermaid',
    'stateDiagram-v2',
    '  [*] --> requested',
    ...edges,
    '  destroyed --> [*]',
    '```',
    '',
    '| state | meaning | usable | TTL applies | oldest |',
    '|---|---|---|---|---|',
    ...states,
    '',
    '| event | meaning |',
    '|---|---|',
    ...events,
    '',
    'A run is one of these lists of steps, stored with the sandbox when it begins. After a crash the next process performs the step at the cursor again.',
    '',
    '| run | steps |',
    '|---|---|',
    ...runs,
    '',
  ].join('\n');
}

function profileSchemaText(): string {
  const schema = z.toJSONSchema(profileSchema, { io: 'input', target: 'draft-7', unrepresentable: 'any' });
  return `${JSON.stringify({ ...schema, title: 'sand-boxer profile' }, null, 2)}\n`;
}

/** File below the root → its text. */
export function renderReference(): Readonly<Record<string, string>> {
  return {
    'docs/reference/operations.md': operationsPage(),
    'docs/reference/errors.md': errorsPage(),
    'docs/concepts/life-cycle.md': lifecyclePage(),
    'docs/reference/profile.schema.json': profileSchemaText(),
    'docs/reference/openapi.json': `${JSON.stringify(openApiDocument(packageVersion()), null, 2)}\n`,
  };
}
