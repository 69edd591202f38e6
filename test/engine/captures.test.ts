/** What the engine makes of a capture, however an extension wrote it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pack } from 'tar-stream';
import { afterEach, expect, it } from 'vitest';
import { LocalTransport } from '../../src/faces/library/local-transport.ts';
import { Sandboxer } from '../../src/faces/library/sandboxer.ts';
import { compose } from '../../src/main.ts';
import type { Capture, CapturedPart } from '../../src/ports/snapshot.ts';
import { HOSTED_ID, HostedWorld, hostedExtension } from '../standins/hosted-extension.ts';
import { temporaryDirectory } from '../standins/simulated-harness.ts';

const PROFILE = `id: profile.hosted
version: "1.0.0"
description: On a host.
extension: ${HOSTED_ID}
isolation: {level: container}
ttl: {default: 1h, max: 24h, idle_reap: null}
metadata: {cost_class: self-hosted, latency_class: seconds}
`;

/** Everything of it is on the prototype. */
class Part implements CapturedPart {
  get part() {
    return { kind: 'workspace' } as const;
  }

  async open(): Promise<AsyncIterable<Uint8Array>> {
    const tar = pack();
    tar.entry({ name: './', type: 'directory' });
    tar.finalize();
    return tar as AsyncIterable<Uint8Array>;
  }
}

class Captured implements Capture {
  readonly ended: string[];

  constructor(ended: string[]) {
    this.ended = ended;
  }

  get engine() {
    return 'hosted';
  }

  get services() {
    return [];
  }

  get notCaptured() {
    return [];
  }

  get parts() {
    return [new Part()];
  }

  async end(): Promise<void> {
    this.ended.push(this.engine);
  }
}

let close: () => Promise<void> = async () => undefined;
afterEach(() => close());

/** A sandbox whose captures are `capture()`, and how often its backend was asked for it. */
async function captured(capture: () => Capture) {
  const looks = { count: 0 };
  const capturing = hostedExtension(new HostedWorld(), (made) => ({
    ...made,
    capabilities: async () => ({ ...(await made.capabilities()), snapshots: true }),
    observe: async (reference, signal) => {
      looks.count += 1;
      return made.observe(reference, signal);
    },
    snapshots: { kinds: ['workspace'], capture: async () => capture() },
  }));
  const home = temporaryDirectory();
  mkdirSync(join(home, 'profiles'));
  writeFileSync(join(home, 'profiles', 'profile.hosted.yaml'), PROFILE);
  const environment = { PATH: process.env.PATH, SANDBOXER_HOME: home, SANDBOXER_HOST: 'somewhere' };
  const transport = new LocalTransport(await compose({ environment, installed: [capturing] }));
  close = () => transport.close();
  const { id } = await new Sandboxer(transport).create({ profile: 'profile.hosted' });
  looks.count = 0;
  const taken = await transport.call('snapshot', { id });
  return { taken, looks: looks.count };
}

it('ends it as its own, though it is an object of a class', async () => {
  const ended: string[] = [];
  const { taken } = await captured(() => new Captured(ended));
  expect(taken.parts).toMatchObject([{ kind: 'workspace', entries: 1 }]);
  expect(ended).toEqual(['hosted']);
});

it('asks whether the sandbox still runs, unless the capture knows for certain', async () => {
  for (const [ranThrough, looks] of [
    [async () => true, 0],
    [async () => false, 1],
    [async () => Promise.reject(new Error('the link broke')), 1],
    [undefined, 1],
  ] as const) {
    const capture = Object.assign(new Captured([]), { ranThrough });
    expect((await captured(() => capture as Capture)).looks).toBe(looks);
    await close();
  }
});
