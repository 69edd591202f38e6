/** Serves the backend on a Unix socket, so that its truth lives and dies apart from the control plane. */
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { z } from 'zod';
import { FAULT_VERBS, FaultRulesSchema } from '../config.ts';
import { type SimulatedBackend, WIRE_BODY_BYTES_MAX, type WireRequest } from '../wire.ts';
import { replaceRules, setSeed } from './faults.ts';
import type { Truth } from './truth.ts';

const RequestSchema = z.object({
  name: z.string().nullable(),
  epoch: z.int().nullable(),
  body: z.record(z.string(), z.unknown()),
});
const VerbSchema = z.enum([...FAULT_VERBS, 'renew']);
const ControlSchema = z.strictObject({ faults: FaultRulesSchema.optional(), seed: z.int().optional() });

export interface RunningProcess {
  readonly socketPath: string;
  close(): Promise<void>;
}

/** Listens on `socketPath` (mode 0600), replacing a socket that a killed process left behind. */
export async function serveBackend(
  backend: SimulatedBackend,
  truth: Truth,
  socketPath: string,
): Promise<RunningProcess> {
  rmSync(socketPath, { force: true });
  const server = createServer((request, response) => {
    handle(backend, truth, request, response).catch((error: unknown) => {
      answer(response, 500, { code: 'internal', message: error instanceof Error ? error.message : 'failed' });
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, resolve);
  });
  chmodSync(socketPath, 0o600);
  return { socketPath, close: () => closeServer(server) };
}

function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

async function handle(
  backend: SimulatedBackend,
  truth: Truth,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = request.url ?? '/';
  const value = await readJson(request);
  if (path === '/control') return control(truth, value, response);
  const verb = VerbSchema.safeParse(path.slice(1));
  const parsed = RequestSchema.safeParse(value);
  if (!verb.success || !parsed.success)
    return answer(response, 400, { code: 'invalid', message: 'no such call' });
  const wire: WireRequest = { verb: verb.data, ...parsed.data };
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const outcome = await backend.call(wire, gone.signal);
  if (outcome.kind !== 'reply') {
    request.socket.destroy();
    return;
  }
  response.writeHead(outcome.reply.status, { ...outcome.reply.headers });
  response.end(outcome.reply.body);
}

function control(truth: Truth, value: unknown, response: ServerResponse): void {
  const parsed = ControlSchema.safeParse(value);
  if (!parsed.success) {
    answer(response, 400, { code: 'invalid', message: parsed.error.issues[0]?.message ?? 'not valid' });
    return;
  }
  if (parsed.data.seed !== undefined) setSeed(truth, parsed.data.seed);
  if (parsed.data.faults !== undefined) replaceRules(truth, 'control', parsed.data.faults);
  answer(response, 200, {});
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > 2 * WIRE_BODY_BYTES_MAX) throw new Error('the request is too large');
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString('utf8') || 'null');
}

function answer(response: ServerResponse, status: number, value: unknown): void {
  if (response.headersSent) return;
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}
