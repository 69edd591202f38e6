import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { Hono } from 'hono';
import { SandboxerError } from '../../domain/errors.ts';
import { LIMITS } from '../../domain/limits.ts';
import type { Engine } from '../../engine/engine.ts';
import { authorize, requireScope } from '../../operations/access.ts';
import { admit } from '../../operations/dispatch.ts';
import type { Installation, Operation, OperationContext } from '../../operations/operation.ts';
import { OPERATION_LIST } from '../../operations/table.ts';
import type { Gatekeeper, RequestOrigin } from './access.ts';
import { json, jsonText, problem, serverSentEvents, streamed } from './answers.ts';
import { type ConnectionFacts, type Exchange, exchangeOf } from './exchange.ts';
import { collectExec } from './exec-answer.ts';
import { gatherInput } from './input.ts';
import type { Metrics } from './metrics.ts';
import { openApiDocument } from './openapi.ts';

export interface AppParts {
  readonly engine: Engine;
  readonly installation: Installation;
  readonly gatekeeper: Gatekeeper;
  readonly metrics: Metrics;
}

type Bindings = { Bindings: ConnectionFacts };

function originOf(facts: ConnectionFacts, exchange: Exchange): RequestOrigin {
  return {
    trusted: facts.trusted ?? false,
    remoteAddress: facts.incoming?.socket.remoteAddress ?? 'in-process',
    host: exchange.header('host'),
    origin: exchange.header('origin'),
    authorization: exchange.header('authorization'),
  };
}

/** `stdin` of a plain POST is text in the body; a session that keeps it open is a WebSocket. */
function takeStdin(raw: Record<string, unknown>): Uint8Array | null {
  const { stdin } = raw;
  if (typeof stdin !== 'string') {
    delete raw.stdin; // nobody could ever close it
    return null;
  }
  if (Buffer.byteLength(stdin) > LIMITS.execStdinBytes) {
    throw new SandboxerError('body_too_large', `stdin is larger than ${LIMITS.execStdinBytes} bytes.`);
  }
  raw.stdin = true;
  return Buffer.from(stdin);
}

/** Once the answer has begun a failure can only cut it off: the client sees that, and the log says why. */
async function* toldWhenCutOff(
  source: AsyncIterable<Uint8Array>,
  { name }: Operation,
  { engine, signal }: OperationContext,
): AsyncIterable<Uint8Array> {
  try {
    yield* source;
  } catch (error) {
    if (!signal.aborted)
      engine.context.log.warn('an answer was cut off', { operation: name, why: String(error) });
    throw error;
  }
}

async function respond(
  operation: Operation,
  context: OperationContext,
  exchange: Exchange,
  raw: Record<string, unknown>,
): Promise<Response> {
  const stdin = operation.shape === 'exec' ? takeStdin(raw) : null;
  const input = admit(operation, context, raw);
  switch (operation.shape) {
    case 'call': {
      const status = operation.http.status ?? 200;
      return operation.json === undefined
        ? json(await operation.run(context, input), status)
        : jsonText(await operation.json(context, input), status);
    }
    case 'exec': {
      const session = await operation.run(context, input);
      return json(await collectExec(session, stdin, (input as { detach: boolean }).detach));
    }
    case 'download': {
      const source = toldWhenCutOff(await operation.run(context, input), operation, context);
      const sent = await exchange.send(source, { 'content-type': operation.mediaType });
      return sent ? RESPONSE_ALREADY_SENT : streamed(source, operation.mediaType);
    }
    case 'upload':
      return json(await operation.run(context, input, exchange.body()));
    case 'events':
      return serverSentEvents(
        (await operation.run(context, input)) as AsyncIterable<{ sequence: number | null; type: string }>,
      );
    case 'tunnel':
      throw new SandboxerError('invalid_request', 'This route speaks WebSocket only.', {
        nextStep: 'Connect with a WebSocket client, or use: sandboxer port',
      });
  }
}

function withLastEventId(exchange: Exchange, raw: Record<string, unknown>): void {
  const last = exchange.header('last-event-id');
  if (last !== undefined && /^[0-9]{1,15}$/.test(last)) raw.after ??= last;
}

function bind(app: Hono<Bindings>, operation: Operation, parts: AppParts): void {
  const path = operation.http.path.replaceAll(/\{(\w+)\}/g, ':$1');
  const { clock, log } = parts.engine.context;
  app.on(operation.http.method, path, async (c) => {
    const beganAtMs = clock.monotonicMs();
    const facts = c.env ?? {};
    const exchange = exchangeOf(facts, () => c.req.raw);
    let answer: Response;
    try {
      const origin = originOf(facts, exchange);
      parts.gatekeeper.checkSource(origin);
      const principal = await parts.gatekeeper.principalOf(origin);
      authorize(principal, operation);
      const raw = await gatherInput(operation, exchange, c.req.param() as Record<string, string>);
      if (operation.shape === 'events') withLastEventId(exchange, raw);
      const context: OperationContext = {
        engine: parts.engine,
        principal,
        signal: exchange.signal,
        idempotencyKey: exchange.header('idempotency-key') ?? null,
        installation: parts.installation,
      };
      answer = await respond(operation, context, exchange, raw);
    } catch (error) {
      answer = problem(error, log);
    }
    const tookMs = clock.monotonicMs() - beganAtMs;
    if (answer !== RESPONSE_ALREADY_SENT)
      answer.headers.set('server-timing', `total;dur=${tookMs.toFixed(2)}`);
    parts.metrics.observeRequest(operation.name, answer.status, tookMs);
    return answer;
  });
}

/** The whole HTTP API as one handler; a test calls it in process with `app.request`. */
export function createApp(parts: AppParts): Hono<Bindings> {
  const app = new Hono<Bindings>();
  const { log, store } = parts.engine.context;
  let openApi: unknown = null;
  app.get('/healthz', () => json({ status: 'ok' }));
  app.get('/readyz', async () => {
    try {
      await store.nextDueAtMs();
      return json({ status: 'ok' });
    } catch (error) {
      return problem(error, log);
    }
  });
  app.get('/openapi.json', () => {
    openApi ??= openApiDocument(parts.installation.version);
    return json(openApi);
  });
  app.get('/metrics', async (c) => {
    try {
      const facts = c.env ?? {};
      const origin = originOf(
        facts,
        exchangeOf(facts, () => c.req.raw),
      );
      parts.gatekeeper.checkSource(origin);
      requireScope(await parts.gatekeeper.principalOf(origin), 'read');
      return await parts.metrics.render();
    } catch (error) {
      return problem(error, log);
    }
  });
  for (const operation of OPERATION_LIST) bind(app, operation, parts);
  app.notFound((c) =>
    problem(
      new SandboxerError('not_found', `There is no route ${c.req.method} ${c.req.path.slice(0, 200)}.`, {
        nextStep: 'The routes are in /openapi.json.',
      }),
      log,
    ),
  );
  return app;
}
