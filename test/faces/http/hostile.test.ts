/** P18 (T13): input from outside is refused with one sentence, cheaply, and leaves nothing behind. */
import { connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ERROR_REGISTRY, type Problem } from '../../../src/domain/errors.ts';
import { OPERATION_LIST } from '../../../src/operations/table.ts';
import { type HttpBench, openHttpBench } from './bench.ts';

let bench: HttpBench;
beforeAll(async () => {
  bench = await openHttpBench();
});
afterAll(async () => {
  await bench[Symbol.asyncDispose]();
});

async function refused(path: string, init: RequestInit): Promise<Problem> {
  const answer = await bench.request(path, init);
  expect(answer.headers.get('content-type')).toBe('application/problem+json');
  const problem = (await answer.json()) as Problem;
  expect(problem.status).toBe(answer.status);
  expect(Object.keys(ERROR_REGISTRY)).toContain(problem.code);
  return problem;
}

const create = (body: string) => refused('/v1/sandboxes', { method: 'POST', body });

describe('a bad create', () => {
  const rows: [string, string, string, RegExp][] = [
    ['no JSON', '{', 'invalid_request', /not JSON/],
    ['no object', '[]', 'invalid_request', /not an object/],
    ['an unknown field, near a known one', '{"porfile":"x"}', 'invalid_request', /did you mean "profile"/],
    ['a wrong type', '{"labels":7}', 'invalid_request', /labels/],
    ['an unknown profile, near a known one', '{"profile":"profile.locl"}', 'unknown_profile', /profile.locl/],
    ['a malformed duration', '{"profile":"profile.local","ttl":"soon"}', 'invalid_duration', /"soon"/],
    ['a TTL over the maximum', '{"profile":"profile.local","ttl":"48h"}', 'ttl_over_maximum', /48h.*1?d|24h/],
    ['an unknown input', '{"profile":"profile.local","inputs":{"colour":"red"}}', 'invalid_input', /colour/],
    [
      'a repository that is not there',
      '{"profile":"profile.local","inputs":{"repo":"/nowhere"}}',
      'invalid_input',
      /does not exist/,
    ],
    [
      'a prototype',
      '{"__proto__":{"profile":"x"},"profile":"profile.x"}',
      'invalid_request',
      /no field "__proto__"/,
    ],
    ['control characters', JSON.stringify({ profile: 'a\u001b[31m\u0000' }), 'unknown_profile', /a\?\[31m\?/],
    [
      'too many labels',
      JSON.stringify({ labels: Object.fromEntries(Array.from({ length: 40 }, (_, n) => [n, 'x'])) }),
      'invalid_request',
      /too many labels/,
    ],
  ];
  for (const [what, body, code, sentence] of rows) {
    it(`with ${what}: ${code}`, async () => {
      const problem = await create(body);
      expect(problem.code).toBe(code);
      expect(problem.detail).toMatch(sentence);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: their absence is the claim
      expect(problem.detail).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
    });
  }

  it('leaves no record behind', async () => {
    const { items } = (await (await bench.request('/v1/sandboxes')).json()) as { items: unknown[] };
    expect(items).toEqual([]);
  });
});

describe('bodies', () => {
  it('over the limit are refused before they are read to the end', async () => {
    const body = new Uint8Array(2 * 1024 * 1024).fill(0x20);
    expect((await refused('/v1/sandboxes', { method: 'POST', body })).code).toBe('body_too_large');
  });

  it('that never say how long they are, too', async () => {
    let sent = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 65_536;
        if (sent > 64 * 1024 * 1024) controller.close();
        else controller.enqueue(new Uint8Array(65_536).fill(0x20));
      },
    });
    const init = { method: 'POST', body, duplex: 'half' } as RequestInit;
    const outcome = await refused('/v1/sandboxes', init).then(
      ({ code }) => code,
      () => 'cut off',
    );
    expect(['body_too_large', 'cut off']).toContain(outcome);
    expect(sent).toBeLessThan(16 * 1024 * 1024);
  });

  it('nested a hundred thousand deep cost little', async () => {
    const beganAtMs = performance.now();
    await create(`{"labels":${'['.repeat(100_000)}${']'.repeat(100_000)}}`);
    expect(performance.now() - beganAtMs).toBeLessThan(2_000);
  });

  it('headers over the limit close the connection', async () => {
    const { port } = new URL(bench.server.url);
    const answer = await new Promise<string>((resolve) => {
      let text = '';
      const socket = connect(Number(port), '127.0.0.1', () => {
        socket.write(`GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ${'y'.repeat(64 * 1024)}\r\n\r\n`);
      });
      socket.on('data', (chunk) => (text += chunk));
      socket.on('error', () => resolve(text || 'HTTP/1.1 431'));
      socket.on('close', () => resolve(text));
    });
    expect(answer).toMatch(/^HTTP\/1\.1 431/);
  });
});

describe('fuzzed input', () => {
  const runs = 30 * Number(process.env.SANDBOXER_TEST_SCALE ?? 1);
  const operations = OPERATION_LIST.filter(
    ({ shape, name }) =>
      shape === 'call' && !['doctor', 'expire', 'reap_stale', 'inspect_stale'].includes(name),
  );

  for (const operation of operations) {
    it(`never makes ${operation.name} answer 5xx or anything but JSON`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.jsonValue(), fc.string({ maxLength: 40 }), async (body, id) => {
          const path = operation.http.path.replace(/\{\w+\}/, encodeURIComponent(id || 'x'));
          const { method } = operation.http;
          const init =
            method === 'GET' || method === 'DELETE' ? { method } : { method, body: JSON.stringify(body) };
          const answer = await bench.request(path, init);
          const text = await answer.text();
          expect(answer.status, text).toBeLessThan(500);
          JSON.parse(text);
        }),
        { numRuns: runs },
      );
    });
  }
});

describe('an unknown route', () => {
  it('says where the routes are', async () => {
    const problem = await refused('/v2/nothing', {});
    expect(problem).toMatchObject({ code: 'not_found', next_step: expect.stringContaining('/openapi.json') });
  });
});
