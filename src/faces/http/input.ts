import { SandboxerError } from '../../domain/errors.ts';
import { LIMITS } from '../../domain/limits.ts';
import type { Operation } from '../../operations/operation.ts';
import type { Exchange } from './exchange.ts';

/** Reads a body up to `limitBytes`; throws `body_too_large` as soon as it is known to be larger. */
export async function readBody(exchange: Exchange, limitBytes: number): Promise<Uint8Array> {
  const tooLarge = () =>
    new SandboxerError('body_too_large', `The body is larger than ${limitBytes} bytes.`, {
      nextStep: 'Send less, or move files with the files and archive routes.',
    });
  if (Number(exchange.header('content-length') ?? 0) > limitBytes) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of exchange.body()) {
    bytes += chunk.length;
    if (bytes > limitBytes) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function jsonBody(exchange: Exchange): Promise<Record<string, unknown>> {
  const bytes = await readBody(exchange, LIMITS.requestBodyBytes);
  if (bytes.length === 0) return {};
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    throw new SandboxerError('invalid_request', 'The body is not JSON.', {
      nextStep: 'Send a JSON object, with content-type: application/json.',
      cause: error,
    });
  }
  if (value !== null && typeof value === 'object' && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new SandboxerError('invalid_request', 'The body is JSON, but not an object.');
}

function queryFields(url: URL): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const key of new Set(url.searchParams.keys())) {
    const values = url.searchParams.getAll(key);
    fields[key] = values.length === 1 ? values[0] : values;
  }
  return fields;
}

/** The operation's raw input: path parameters over the query over the JSON body. */
export async function gatherInput(
  operation: Operation,
  exchange: Exchange,
  pathFields: Readonly<Record<string, string>>,
): Promise<Record<string, unknown>> {
  const carriesJson = operation.http.method !== 'GET' && operation.shape !== 'upload';
  const body = carriesJson ? await jsonBody(exchange) : {};
  return { ...body, ...queryFields(exchange.url), ...pathFields };
}
