/** A real server on loopback and its socket, over the simulated backend. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createJsonLog } from '../../../src/adapters/log/json-log.ts';
import { type RunningServer, serveHttp } from '../../../src/faces/http/server.ts';
import { Sandboxer } from '../../../src/faces/library/index.ts';
import { type Composed, compose } from '../../../src/main.ts';
import type { Scope } from '../../../src/operations/operation.ts';
import { issueToken } from '../../../src/operations/tokens.ts';
import { destroyAll } from '../../standins/destroy-all.ts';
import { temporaryDirectory } from '../../standins/simulated-harness.ts';

export interface HttpBench extends AsyncDisposable {
  readonly home: string;
  readonly server: RunningServer;
  readonly composed: Composed;
  /** Everything the server logged. */
  readonly logged: string[];
  readonly operatorToken: string;
  token(scopes: readonly Scope[], project?: string): Promise<string>;
  client(token: string): Promise<Sandboxer>;
  request(path: string, init?: RequestInit & { token?: string | null }): Promise<Response>;
}

export async function openHttpBench(variables: Readonly<Record<string, string>> = {}): Promise<HttpBench> {
  const home = temporaryDirectory();
  const logged: string[] = [];
  const environment = { PATH: process.env.PATH, SANDBOXER_HOME: home, ...variables };
  const composed = await compose({
    environment,
    log: createJsonLog((line) => logged.push(line)),
    staysUp: true,
  });
  composed.engine.startLoops();
  const server = await serveHttp(composed);
  const operatorToken = readFileSync(join(home, 'token'), 'utf8').trim();
  return {
    home,
    server,
    composed,
    logged,
    operatorToken,
    async token(scopes, project) {
      const issued = await issueToken(composed.engine.context, {
        name: 'test',
        project: project ?? null,
        scopes,
      });
      return issued.token;
    },
    client: (token) =>
      Sandboxer.connect({
        environment: { SANDBOXER_URL: server.url, SANDBOXER_TOKEN: token, SANDBOXER_HOME: home },
      }),
    request(path, { token = operatorToken, ...init } = {}) {
      const headers = new Headers(init.headers);
      if (token !== null) headers.set('authorization', `Bearer ${token}`);
      return fetch(new URL(path, server.url), { ...init, headers });
    },
    async [Symbol.asyncDispose]() {
      await server.close();
      await composed.close();
      await destroyAll(home, variables);
    },
  };
}
