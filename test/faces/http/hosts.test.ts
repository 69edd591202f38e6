/** Hosts over HTTP: the operator's business, of which a project learns the names alone. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type HttpBench, openHttpBench } from './bench.ts';

let bench: HttpBench;
beforeAll(async () => {
  bench = await openHttpBench();
});
afterAll(() => bench[Symbol.asyncDispose]());

const NAME = 'deploy@10.0.0.5:2222';
const post = (path: string, body: object, token?: string) =>
  bench.request(path, {
    method: 'POST',
    body: JSON.stringify(body),
    ...(token === undefined ? {} : { token }),
  });

describe('hosts over HTTP', () => {
  it('are added, drained and removed by the operator', async () => {
    const added = await post('/v1/hosts', { name: 'box', ssh: 'deploy@box:22', key_file: '/keys/box' });
    expect([added.status, await added.json()]).toMatchObject([201, { name: 'box', ssh: 'deploy@box:22' }]);
    expect(await (await post('/v1/hosts/box/drain', {})).json()).toMatchObject({ draining: true });
    expect(await (await post('/v1/hosts/box/drain', { undo: true })).json()).toMatchObject({
      draining: false,
    });
    expect((await post('/v1/hosts/bax/drain', {})).status).toBe(404);
    expect((await bench.request('/v1/hosts/box', { method: 'DELETE' })).status).toBe(200);
    expect((await bench.request('/v1/hosts/box', { method: 'DELETE' })).status).toBe(404);
  });

  it('a project sees which there are, and not how to reach them', async () => {
    await post('/v1/hosts', { name: 'box', ssh: 'deploy@box:22', key_file: '/keys/box', jump: 'gate:22' });
    const token = await bench.token(['read'], 'red');
    const answer = await bench.request('/v1/hosts', { token });
    const text = await answer.text();
    expect(JSON.parse(text)).toMatchObject({
      items: [{ name: 'box', ssh: null, key_file: null, jump: null }],
    });
    expect(text).not.toMatch(/deploy|keys|gate/);
  });

  it('a name may hold what an address holds', async () => {
    const { store } = bench.composed.engine.context;
    const { host } = (await store.getHost('box'))!;
    await store.transaction((inside) => inside.putHost({ host: { ...host, name: NAME }, origin: 'ad_hoc' }));
    const path = `/v1/hosts/${encodeURIComponent(NAME)}`;
    expect(await (await post(`${path}/drain`, {})).json()).toMatchObject({ name: NAME, draining: true });
    expect(await (await bench.request(path, { method: 'DELETE' })).json()).toEqual({
      name: NAME,
      removed: true,
    });
  });
});
