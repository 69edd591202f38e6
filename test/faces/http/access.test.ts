/** P16 (T11): every operation against every kind of caller; default deny; another tenant's id looks like a missing one. */
import { mkdirSync, statSync, symlinkSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { serveHttp } from '../../../src/faces/http/server.ts';
import type { Sandbox } from '../../../src/faces/library/index.ts';
import { type Operation, SCOPES, type Scope } from '../../../src/operations/operation.ts';
import { OPERATION_LIST } from '../../../src/operations/table.ts';
import { type HttpBench, openHttpBench } from './bench.ts';

let bench: HttpBench;
let red: Sandbox;
beforeAll(async () => {
  bench = await openHttpBench();
  const client = await bench.client(await bench.token(['write'], 'red'));
  red = await client.create({ profile: 'profile.simulated' });
  await client.close();
});
afterAll(async () => {
  await bench[Symbol.asyncDispose]();
});

function pathOf(operation: Operation, id: string): string {
  return operation.http.path.replace('{id}', id).replace('{name}', 'box').replace('{port}', '80');
}

function send(operation: Operation, token: string | null, id: string): Promise<Response> {
  const { method } = operation.http;
  return bench.request(pathOf(operation, id), {
    method,
    token,
    ...(method === 'GET' || method === 'DELETE' ? {} : { body: '{}' }),
  });
}

function oneCharacterOff(token: string): string {
  return token.slice(0, -1) + (token.endsWith('z') ? 'y' : 'z');
}

/** What an operation may answer once the caller was let in: anything but "who are you" and "you may not". */
const LET_IN = (status: number) => status !== 401 && status !== 403;

for (const operation of OPERATION_LIST) {
  describe(`${operation.http.method} ${operation.http.path}`, () => {
    it('refuses without a token, with a wrong one, and with one that was revoked', async () => {
      const revoked = await bench.token(['admin']);
      const id = revoked.split('_')[1]!;
      expect((await bench.request(`/v1/tokens/${id}`, { method: 'DELETE' })).status).toBe(200);
      for (const token of [
        null,
        'sbx_00000000_0',
        `${bench.operatorToken}0`,
        oneCharacterOff(bench.operatorToken),
        revoked,
      ]) {
        expect((await send(operation, token, 'aaaaaaaaaa')).status).toBe(401);
      }
    });

    it('with every scope, but for one project: lets in unless it concerns the whole machine', async () => {
      const answer = await send(operation, await bench.token(['admin'], 'red'), 'aaaaaaaaaa');
      const problem = answer.status === 403 ? ((await answer.json()) as { detail: string }) : null;
      if (problem === null) await answer.body?.cancel();
      if (operation.hostWide === true) expect(problem?.detail).toContain('whole machine');
      else expect(problem?.detail ?? 'let in').not.toContain('scope');
    });

    for (const scope of SCOPES) {
      const allowed = scope === 'admin' || (scope === operation.scope && operation.hostWide !== true);
      it(`with the scope ${scope}: ${allowed ? 'lets in' : 'forbids'}`, async () => {
        const answer = await send(operation, await bench.token([scope]), 'aaaaaaaaaa');
        await answer.body?.cancel();
        expect(LET_IN(answer.status), `${answer.status}`).toBe(allowed);
      });
    }
  });
}

describe("another project's sandbox", () => {
  const perSandbox = OPERATION_LIST.filter(
    ({ http, shape }) => http.path.startsWith('/v1/sandboxes/{id}') && shape !== 'tunnel',
  );
  const everyScope: Scope[] = ['read', 'write', 'exec'];

  const bodies: Record<string, object> = { exec: { command: ['true'] }, extend_ttl: { duration: '1h' } };
  for (const operation of perSandbox) {
    it(`looks to ${operation.name} exactly like a missing one`, async () => {
      const token = await bench.token(everyScope, 'blue');
      const answers = [];
      for (const id of [red.id, '0000000000']) {
        const { method } = operation.http;
        const body =
          method === 'GET' || method === 'DELETE'
            ? {}
            : { body: JSON.stringify(bodies[operation.name] ?? {}) };
        const answer = await bench.request(
          `${pathOf(operation, id)}?path=/workspace`.replace(
            /\?path.*$/,
            (method === 'GET' && /file|archive|directory/.test(operation.http.path)) ||
              operation.shape === 'upload'
              ? '?path=/workspace'
              : '',
          ),
          { method, token, ...body },
        );
        const text = (await answer.text()).replaceAll(id, 'ID');
        answers.push({ status: answer.status, text });
      }
      if (operation.shape === 'events') {
        expect(answers[0]).toEqual(answers[1]);
        return;
      }
      expect(answers[0]).toEqual(answers[1]);
      expect(answers[0]!.status).toBe(404);
    });
  }

  it('is in no list, and its project cannot be created for', async () => {
    const client = await bench.client(await bench.token(everyScope, 'blue'));
    expect((await client.list()).items).toEqual([]);
    expect((await client.list({ project: 'red' })).items).toEqual([]);
    await expect(client.create({ profile: 'profile.simulated', project: 'red' })).rejects.toMatchObject({
      code: 'forbidden',
    });
    await client.close();
  });

  it('cannot be reached by a session either', async () => {
    const token = await bench.token(everyScope, 'blue');
    const client = await bench.client(token);
    const refused = client.transport.exec({ id: red.id, command: ['true'] });
    await expect(refused).rejects.toMatchObject({ code: 'not_found' });
    await client.close();
  });
});

describe('the server', () => {
  it('leaves the first token in a file only its owner reads, and stores a hash', async () => {
    expect(statSync(join(bench.home, 'token')).mode & 0o777).toBe(0o600);
    expect(statSync(join(bench.home, 'sandboxer.sock')).mode & 0o777).toBe(0o600);
    const tokens = await bench.composed.engine.context.store.listTokens();
    const secret = bench.operatorToken.split('_')[2]!;
    expect(JSON.stringify(tokens)).not.toContain(secret);
  });

  const viaHost = (headers: Record<string, string>) =>
    new Promise<number>((resolve, reject) => {
      const target = new URL('/v1/sandboxes', bench.server.url);
      const request = httpRequest(target, {
        headers: { authorization: `Bearer ${bench.operatorToken}`, ...headers },
      });
      request.on('response', (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      request.on('error', reject);
      request.end();
    });

  it('refuses a foreign Host (DNS rebinding) and a foreign Origin', async () => {
    expect(await viaHost({ host: 'evil.example' })).toBe(403);
    expect(await viaHost({ origin: 'https://evil.example' })).toBe(403);
    expect(await viaHost({ origin: 'null' })).toBe(403);
    expect(await viaHost({ host: 'localhost:1' })).toBe(200);
    expect(await viaHost({ origin: 'http://localhost:8080' })).toBe(200);
  });

  it('refuses a foreign Origin on sessions too', async () => {
    const url = `${bench.server.url.replace('http', 'ws')}/v1/sandboxes/${red.id}/exec`;
    const headers = { authorization: `Bearer ${bench.operatorToken}` };
    const socket = new WebSocket(url, { headers, origin: 'https://evil.example' });
    const status = await new Promise((resolve) => {
      socket.once('unexpected-response', (_request, response) => resolve(response.statusCode));
      socket.once('open', () => resolve('opened'));
      socket.once('error', () => undefined);
    });
    expect(status).toBe(403);
  });

  it('refuses to serve plain HTTP beyond loopback unless told to', async () => {
    const attempt = serveHttp(
      {
        ...bench.composed,
        home: { socketPath: join(bench.home, 'other.sock'), tokenPath: join(bench.home, 'token') },
      },
      { host: '0.0.0.0' },
    );
    await expect(attempt).rejects.toMatchObject({
      code: 'invalid_request',
      nextStep: expect.stringContaining('TLS'),
    });
  });

  it('answers health without a token, metrics only with one', async () => {
    for (const path of ['/healthz', '/readyz', '/openapi.json']) {
      expect((await bench.request(path, { token: null })).status).toBe(200);
    }
    expect((await bench.request('/metrics', { token: null })).status).toBe(401);
    const metrics = await (await bench.request('/metrics')).text();
    expect(metrics).toMatch(/sandboxer_live \d/);
  });

  it('does not let a project token name paths of this machine', async () => {
    const client = await bench.client(await bench.token(['write'], 'blue'));
    const attempt = client.create({ profile: 'profile.local', inputs: { repo: '/etc' } });
    await expect(attempt).rejects.toMatchObject({ code: 'forbidden' });
    await client.close();
  });

  it('does not follow a link below an allowed root, nor tell what lies outside', async () => {
    const roots = join(bench.home, 'roots');
    mkdirSync(join(roots, 'good'), { recursive: true });
    symlinkSync('/root', join(roots, 'link'));
    const rooted = await openHttpBench({ SANDBOXER_INPUT_ROOTS: roots });
    const client = await rooted.client(await rooted.token(['read', 'write'], 'blue'));
    const explain = (repo: string) =>
      client.transport.call('route_explain', { profile: 'profile.local', inputs: { repo } });
    for (const repo of [
      join(roots, 'link'),
      join(roots, '..', 'token'),
      '/root/.bashrc',
      '/nowhere',
      'good',
    ]) {
      await expect(explain(repo), repo).rejects.toMatchObject({ code: 'forbidden' });
      const create = client.create({ profile: 'profile.local', inputs: { repo } });
      await expect(create, repo).rejects.toMatchObject({ code: 'forbidden' });
    }
    expect((await explain(join(roots, 'good'))).order).toEqual(['ext.local']);
    await client.close();
    await rooted[Symbol.asyncDispose]();
  });

  it('a token limited to a project issues none beyond it', async () => {
    const token = await bench.token(['admin'], 'blue');
    const post = (body: object) =>
      bench.request('/v1/tokens', { method: 'POST', token, body: JSON.stringify(body) });
    expect((await post({ name: 'x' })).status).toBe(403);
    expect((await post({ name: 'x', project: 'red' })).status).toBe(403);
    expect((await post({ name: 'x', project: 'blue' })).status).toBe(201);
  });
});

describe('guessing tokens', () => {
  it('is slowed down, and does not shut out who has one', async () => {
    const other = await openHttpBench();
    const guess = async () => (await other.request('/v1/sandboxes', { token: 'sbx_00000000_guess' })).status;
    const statuses: number[] = [];
    for (let round = 0; round < 100 && !statuses.includes(429); round += 1) {
      statuses.push(...(await Promise.all(Array.from({ length: 50 }, guess))));
    }
    expect(new Set(statuses)).toEqual(new Set([401, 429]));
    expect((await other.request('/v1/sandboxes')).status).toBe(200);
    await other[Symbol.asyncDispose]();
  });
});
