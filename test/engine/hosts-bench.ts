/** A control plane whose backend has hosts, on time that passes quickly. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LocalTransport } from '../../src/faces/library/local-transport.ts';
import { Sandboxer } from '../../src/faces/library/sandboxer.ts';
import type { CallInput, CallName, CallOutput } from '../../src/faces/library/transport.ts';
import { type Composed, compose } from '../../src/main.ts';
import { createHastyClock } from '../standins/hasty-clock.ts';
import { HostedWorld, hostedExtension } from '../standins/hosted-extension.ts';
import { temporaryDirectory } from '../standins/simulated-harness.ts';

export const PROFILE = 'profile.hosted';

export interface HostsBench extends AsyncDisposable {
  readonly home: string;
  readonly world: HostedWorld;
  readonly composed: Composed;
  readonly sandboxer: Sandboxer;
  call<Name extends CallName>(name: Name, input: CallInput<Name>): Promise<CallOutput<Name>>;
  addHost(name: string, more?: Partial<CallInput<'hosts_add'>>): Promise<CallOutput<'hosts_add'>>;
  profile(placement: string, more?: string): void;
  route(): Promise<CallOutput<'route_explain'>>;
}

export async function openHostsBench(
  variables: Readonly<Record<string, string>> = {},
  home = temporaryDirectory(),
  world = new HostedWorld(),
): Promise<HostsBench> {
  const composed = await compose({
    environment: { PATH: process.env.PATH, SANDBOXER_HOME: home, ...variables },
    clock: createHastyClock(20),
    installed: [hostedExtension(world)],
  });
  const transport = new LocalTransport(composed);
  const sandboxer = new Sandboxer(transport);
  const profile = (placement: string, more = '') => {
    mkdirSync(join(home, 'profiles'), { recursive: true });
    const lines = [
      `id: ${PROFILE}`,
      'version: "1.0.0"',
      'isolation: {level: container}',
      'ttl: {default: 1h, max: 2h}',
      more === '' ? 'extension: ext.hosted' : more,
      `placement: ${placement}`,
      '',
    ];
    writeFileSync(join(home, 'profiles', `${PROFILE}.yaml`), lines.join('\n'));
  };
  profile('{}');
  return {
    home,
    world,
    composed,
    sandboxer,
    profile,
    call: (name, input) => transport.call(name, input),
    addHost: (name, more = {}) => transport.call('hosts_add', { name, ssh: `deploy@${name}`, ...more }),
    route: () => transport.call('route_explain', { profile: PROFILE }),
    async [Symbol.asyncDispose]() {
      await sandboxer.close();
    },
  };
}
