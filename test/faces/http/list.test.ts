/** A page over HTTP is made of texts that are kept: it says what the operation says, and never what was true before. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Sandboxer } from '../../../src/faces/library/index.ts';
import { LocalTransport } from '../../../src/faces/library/local-transport.ts';
import { type HttpBench, openHttpBench } from './bench.ts';

const PROFILE = 'profile.simulated';

describe('a page of the list over HTTP', () => {
  let bench: HttpBench;
  let inProcess: Sandboxer;
  beforeAll(async () => {
    bench = await openHttpBench();
    inProcess = new Sandboxer(new LocalTransport(bench.composed));
  });
  afterAll(() => bench[Symbol.asyncDispose]());

  const textOf = async (query: string) => (await bench.request(`/v1/sandboxes${query}`)).text();

  it('is what the operation answers, however often it is asked for and whatever changes', async () => {
    const first = await inProcess.create({ profile: PROFILE, project: 'red', labels: { team: 'ümläut ☃' } });
    const same = async () => {
      const text = await textOf('?limit=50');
      expect(text).toBe(JSON.stringify(await inProcess.list({ limit: 50 })));
      expect(await textOf('?limit=50')).toBe(text);
      return text;
    };
    expect(await same()).toContain('"team":"ümläut ☃"');
    await inProcess.create({ profile: PROFILE, project: 'blue' });
    expect(await same()).not.toContain('"active"');
    await bench.request(`/v1/sandboxes/${first.id}/activate`, { method: 'POST' });
    expect(await same()).toContain('"active"');
    const known = await inProcess.list({ limit: 50 });
    Object.assign(known.items[0]!.labels, { changed: 'by who was given it' });
    expect(await same()).not.toContain('changed');
    await first.destroy();
    expect(await same()).toContain('"destroyed"');
  });

  it('goes on where the last one ended, and is empty where there is nothing to see', async () => {
    for (let count = 0; count < 3; count += 1) await inProcess.create({ profile: PROFILE, project: 'green' });
    const page = await inProcess.list({ project: 'green', limit: 2 });
    expect(await textOf('?project=green&limit=2')).toBe(JSON.stringify(page));
    expect(page.next_cursor).not.toBeNull();
    const rest = JSON.parse(await textOf(`?project=green&limit=2&cursor=${page.next_cursor}`));
    expect([rest.items.length, rest.next_cursor]).toEqual([1, null]);
    const answer = await bench.request('/v1/sandboxes?project=green', {
      token: await bench.token(['read'], 'red'),
    });
    expect(await answer.text()).toBe('{"items":[],"next_cursor":null}');
    expect(answer.headers.get('content-type')).toBe('application/json');
  });
});
