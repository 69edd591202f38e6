/** P5 where no server runs: what is over is never shown as usable, and ends with the next command. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, it } from 'vitest';
import { Sandboxer } from '../../src/faces/library/index.ts';
import { startSimulatedBackend } from '../standins/simulated-backend.ts';
import { temporaryDirectory } from '../standins/simulated-harness.ts';
import { readSimulatedTruth } from '../standins/simulated-truth.ts';

const directory = temporaryDirectory();
const backend = await startSimulatedBackend(directory);
const environment = { PATH: process.env.PATH, SANDBOXER_HOME: temporaryDirectory(), ...backend.environment };
afterAll(() => backend.stop());

function thingCount(): number {
  const truth = readSimulatedTruth(directory);
  try {
    return truth.things().length;
  } finally {
    truth.close();
  }
}

it('a time that ran out between two commands', async () => {
  const first = await Sandboxer.connect({ environment });
  const profile = 'profile.simulated';
  const short = await first.create({ profile, ttl: '1s' });
  const long = await first.create({ profile, ttl: '10m' });
  await first.close();
  await sleep(Date.parse(short.status.expires_at!) - Date.now() + 50);

  const later = await Sandboxer.connect({ environment });
  const { items } = await later.list({ state: ['ready', 'active'] });
  expect(items.map(({ sandbox_id: id }) => id)).toEqual([long.id]);
  await later.close();

  const last = await Sandboxer.connect({ environment });
  expect((await last.get(short.id)).status.state).toBe('destroyed');
  expect(thingCount()).toBe(1);
  await (await last.get(long.id)).destroy();
  await last.close();
});
