import { asSandboxerError, problemOf } from '../../domain/errors.ts';
import type { Log } from '../../ports/log.ts';

export function json(value: unknown, status = 200): Response {
  return jsonText(JSON.stringify(value), status);
}

/** What is JSON already, in UTF-8. */
export function jsonText(text: string | Uint8Array, status = 200): Response {
  return new Response(text, { status, headers: { 'content-type': 'application/json' } });
}

/** A failure as RFC 9457 problem+json. What only we should see goes to the log. */
export function problem(thrown: unknown, log: Log): Response {
  const error = asSandboxerError(thrown);
  if (error.kind.fault === 'sandboxer') {
    const { cause } = error;
    log.error(error.message, {
      code: error.code,
      cause: cause instanceof Error ? cause.stack : String(cause),
    });
  }
  const headers: Record<string, string> = { 'content-type': 'application/problem+json' };
  if (error.retryAfterMs !== undefined)
    headers['retry-after'] = String(Math.ceil(error.retryAfterMs / 1_000));
  if (error.code === 'unauthenticated') headers['www-authenticate'] = 'Bearer';
  const status = error.kind.httpStatus;
  return new Response(JSON.stringify(problemOf(error)), { status, headers });
}

/** A stream whose end tells success: one that fails is cut off, never ended politely. */
export function streamed(source: AsyncIterable<Uint8Array>, mediaType: string): Response {
  const iterator = source[Symbol.asyncIterator]();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await iterator.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await iterator.return?.();
      },
    },
    { highWaterMark: 1 },
  );
  return new Response(body, { headers: { 'content-type': mediaType } });
}

/** Server-sent events; `id` is what a client sends back as Last-Event-ID. */
export function serverSentEvents(source: AsyncIterable<{ sequence: number | null; type: string }>): Response {
  const encoder = new TextEncoder();
  async function* lines(): AsyncIterable<Uint8Array> {
    yield encoder.encode(': stream begins\n\n');
    for await (const event of source) {
      const id = event.sequence === null ? '' : `id: ${event.sequence}\n`;
      yield encoder.encode(`${id}event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    }
  }
  const answer = streamed(lines(), 'text/event-stream');
  answer.headers.set('cache-control', 'no-store');
  return answer;
}
