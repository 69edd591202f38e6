import { z } from 'zod';
import { ERROR_REGISTRY, type ErrorCode } from '../../domain/errors.ts';
import type { Operation } from '../../operations/operation.ts';
import { OPERATION_LIST } from '../../operations/table.ts';
import type { ExecResult } from './exec-answer.ts';

type Json = Record<string, unknown>;

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    target: 'draft-2020-12',
  });
  return rest as Json;
}

const PROBLEM_SCHEMA: Json = {
  type: 'object',
  required: ['code', 'status', 'title', 'detail', 'retryable', 'fault'],
  properties: {
    code: { type: 'string', enum: Object.keys(ERROR_REGISTRY) },
    status: { type: 'integer' },
    title: { type: 'string' },
    detail: { type: 'string' },
    retryable: { type: 'boolean' },
    fault: { type: 'string', enum: ['user', 'provider', 'sandboxer'] },
    next_step: { type: 'string' },
    cleaned_up: { type: 'string' },
    sandbox_id: { type: 'string' },
  },
};

const EXEC_RESULT_SCHEMA: z.ZodType<ExecResult> = z.object({
  pid: z.number().int(),
  exit_code: z.number().int().nullable(),
  signal: z.number().int().nullable(),
  timed_out: z.boolean(),
  output_truncated: z.boolean(),
  stdout: z.string(),
  stderr: z.string(),
});

const COMMON_ERRORS: readonly ErrorCode[] = [
  'invalid_request',
  'unauthenticated',
  'forbidden',
  'rate_limited',
  'internal',
];

function parameters(operation: Operation, properties: Json, required: readonly string[]): Json[] {
  const inPath = [...operation.http.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]!);
  const inQuery = hasBody(operation) ? [] : Object.keys(properties).filter((name) => !inPath.includes(name));
  const fields = [
    ...inPath.map((name) => ({ name, in: 'path', required: true, schema: properties[name] })),
    ...inQuery.map((name) => ({
      name,
      in: 'query',
      required: required.includes(name),
      schema: properties[name],
    })),
  ];
  if (!operation.keyed) return fields;
  return [
    ...fields,
    { name: 'Idempotency-Key', in: 'header', required: false, schema: { type: 'string', maxLength: 200 } },
  ];
}

function hasBody(operation: Operation): boolean {
  return !['GET', 'DELETE'].includes(operation.http.method) && operation.shape !== 'upload';
}

function bodyOf(operation: Operation, input: Json, properties: Json): Json {
  if (operation.shape === 'upload') {
    return { requestBody: { required: true, content: { 'application/octet-stream': {} } } };
  }
  const inPath = [...operation.http.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]!);
  const inBody = Object.fromEntries(Object.entries(properties).filter(([name]) => !inPath.includes(name)));
  if (!hasBody(operation) || Object.keys(inBody).length === 0) return {};
  const required = ((input.required as string[] | undefined) ?? []).filter((name) => !inPath.includes(name));
  const schema = { type: 'object', properties: inBody, required, additionalProperties: false };
  return { requestBody: { required: required.length > 0, content: { 'application/json': { schema } } } };
}

function success(operation: Operation): Json {
  switch (operation.shape) {
    case 'call':
    case 'upload':
      return {
        description: operation.summary,
        content: { 'application/json': { schema: schemaOf(operation.output, 'output') } },
      };
    case 'exec':
      return {
        description: operation.summary,
        content: { 'application/json': { schema: schemaOf(EXEC_RESULT_SCHEMA, 'output') } },
      };
    case 'events':
      return {
        description: operation.summary,
        content: { 'text/event-stream': { schema: schemaOf(operation.output, 'output') } },
      };
    case 'download':
      return { description: operation.summary, content: { [operation.mediaType]: {} } };
    case 'tunnel':
      return { description: 'WebSocket; binary messages are the bytes of the connection' };
  }
}

function pathItem(operation: Operation): Json {
  const input = schemaOf(operation.input, 'input');
  const properties = (input.properties as Json | undefined) ?? {};
  const status = operation.shape === 'tunnel' ? 101 : (operation.http.status ?? 200);
  const failures = [...new Set([...COMMON_ERRORS, ...operation.errors])];
  const byStatus = Map.groupBy(failures, (code) => ERROR_REGISTRY[code].httpStatus);
  const errors = [...byStatus].map(([httpStatus, codes]) => [
    String(httpStatus),
    {
      description: codes.join(', '),
      content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
    },
  ]);
  return {
    operationId: operation.name,
    summary: operation.summary,
    parameters: parameters(operation, properties, (input.required as string[] | undefined) ?? []),
    ...bodyOf(operation, input, properties),
    responses: { [String(status)]: success(operation), ...Object.fromEntries(errors) },
    security: [{ bearer: [] }],
    'x-scope': operation.scope,
    'x-effect': operation.effect,
  };
}

/** OpenAPI 3.1, derived from the operation table. */
export function openApiDocument(version: string): Json {
  const paths: Record<string, Json> = {};
  for (const operation of OPERATION_LIST) {
    paths[operation.http.path] ??= {};
    paths[operation.http.path]![operation.http.method.toLowerCase()] = pathItem(operation);
  }
  return {
    openapi: '3.1.0',
    info: { title: 'sand-boxer', version, description: 'Establish sandboxes over many backends.' },
    paths,
    components: {
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
      schemas: { Problem: PROBLEM_SCHEMA },
    },
  };
}
