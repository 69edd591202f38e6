/** How rules apply, and that the truth and its bill outlive every process. */
import { writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { startSimulatedBackend } from '../../../test/standins/simulated-backend.ts';
import { outcome, simulatedFixture } from '../../../test/standins/simulated-fixture.ts';
import {
  newName,
  simulatedContext,
  simulatedSpec,
  temporaryDirectory,
} from '../../../test/standins/simulated-harness.ts';
import { readSimulatedTruth } from '../../../test/standins/simulated-truth.ts';
import { createSystemClock } from '../../adapters/clock/system-clock.ts';
import { ExtensionError } from '../../ports/extension.ts';
import { createExtension } from './extension.ts';

const throttledAs = (retryAfter: string, expected: number | null): Promise<void> =>
  simulatedFixture().then(async (at) => {
    at.arm({ verb: 'provision', kind: 'throttled', retryAfter });
    const error = await at.provision(newName()).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ExtensionError);
    expect({ kind: (error as ExtensionError).kind, after: (error as ExtensionError).retryAfterMs }).toEqual({
      kind: 'throttled',
      after: expected,
    });
    await at.close();
  });

describe('fault rules', () => {
  it('strike after, and as often as, they say', async () => {
    const at = await simulatedFixture();
    const made = await at.made();
    at.arm({ verb: 'observe', kind: 'outage', afterCalls: 1, times: 2 });
    const seen: string[] = [];
    for (let time = 0; time < 5; time += 1) seen.push(await at.look(made));
    expect(seen).toEqual(['present:running', 'unknown', 'unknown', 'present:running', 'present:running']);
    expect(at.truth.injected()).toEqual({ outage: 2 });
    expect(at.truth.calls()).toMatchObject({ observe: 5, provision: 1 });
    await at.close();
  });

  it('draw the same from the same seed', async () => {
    const runs: string[] = [];
    for (let run = 0; run < 2; run += 1) {
      const at = await simulatedFixture();
      at.arm({ verb: 'observe', kind: 'error_before', probability: 0.5 });
      const reference = at.reference();
      let seen = '';
      for (let time = 0; time < 40; time += 1) seen += (await at.look(reference)) === 'unknown' ? 'x' : '.';
      runs.push(seen);
      await at.close();
    }
    expect(runs[0]).toBe(runs[1]);
    expect(runs[0]).toMatch(/x.*\./);
  });

  it('of one profile strike its own sandbox only, and repeating provision does not arm them anew', async () => {
    const at = await simulatedFixture();
    const other = await at.made();
    const faults = [
      { verb: 'provision', kind: 'error_after', times: 1 },
      { verb: 'observe', kind: 'outage', times: 1 },
    ];
    const reference = at.reference();
    expect(await outcome(at.provision(reference.name, { faults }))).toBe('ambiguous');
    expect(await outcome(at.provision(reference.name, { faults }))).toBe('ok');
    expect(await at.look(other)).toBe('present:running');
    expect(await at.look(reference)).toBe('unknown');
    expect(at.truth.things().length).toBe(2);
    await at.close();
  });

  it('that make no sense are refused by name', async () => {
    const at = await simulatedFixture();
    const refuse = (configuration: Record<string, unknown>) =>
      at.extension.validate(simulatedSpec({ configuration })).then(
        () => 'accepted',
        (error: Error) => error.message,
      );
    expect(await refuse({ faults: [{ verb: 'list', kind: 'tags_lost' }] })).toMatch(
      /tags_lost does not fit verb list/,
    );
    expect(await refuse({ faults: [{ verb: 'list', kind: 'nonsense' }] })).toMatch(/faults\.0\.kind/);
    expect(await refuse({ startmS: 1 })).toMatch(/startmS/);
    await at.close();
  });

  it('in a broken file are reported by health, and the last good ones stay', async () => {
    const at = await simulatedFixture();
    at.arm({ verb: 'observe', kind: 'outage' });
    expect(await at.look(at.reference())).toBe('unknown');
    writeFileSync(join(at.directory, 'faults.yaml'), '- {verb: observe, kind: [');
    const health = await at.extension.health(at.signal);
    expect(health).toMatchObject({ ok: false, reason: expect.stringContaining('faults file') });
    expect(await at.look(at.reference())).toBe('unknown');
    await at.close();
  });
});

describe('Retry-After is turned into a sane wait or none', () => {
  it.concurrent.for([
    ['0', 0],
    ['7', 7_000],
    ['-1', null],
    ['315360000', 3_600_000],
    ['soon', null],
    ['99999999999999999999', null],
    ['Thu, 01 Jan 1970 00:00:00 GMT', 0],
  ] as const)('%s', ([header, expected]) => throttledAs(header, expected));
});

describe('the truth', () => {
  it('loses nothing that was answered when its process is killed', { timeout: 20_000 }, async () => {
    const directory = temporaryDirectory();
    let process = await startSimulatedBackend(directory);
    const at = await simulatedFixture(
      { ...process.environment, SANDBOXER_SIMULATED_TIMEOUT_MS: '2000' },
      directory,
    );
    const names: string[] = [];
    for (let count = 0; count < 20; count += 1) names.push((await at.made()).name);
    const killed = process.kill();
    const late = at.reference();
    const answer = await outcome(at.provision(late.name));
    await killed;
    expect(await outcome(at.provision(at.reference().name))).toBe('transient');
    process = await startSimulatedBackend(directory);
    for (const name of names) expect(await at.look(at.reference(name))).toBe('present:running');
    if (answer === 'ok') expect(await at.look(late)).toBe('present:running');
    await at.close();
    await process.stop();
  });

  it('is shared by a process and a caller without one, at once', { timeout: 20_000 }, async () => {
    const directory = temporaryDirectory();
    const process = await startSimulatedBackend(directory);
    const remote = await simulatedFixture(
      { ...process.environment, SANDBOXER_SIMULATED_TIMEOUT_MS: '5000' },
      directory,
    );
    const local = await simulatedFixture({}, directory);
    const work = Array.from({ length: 100 }, (_, index) => (index % 2 === 0 ? remote : local).made());
    const made = await Promise.all(work);
    expect(new Set(local.truth.things().map((thing) => thing.id)).size).toBe(100);
    await Promise.all(made.map((one, index) => (index % 3 === 0 ? remote : local).destroy(one)));
    expect(local.truth.things()).toEqual([]);
    await remote.close();
    await local.close();
    await process.stop();
  });

  it('takes faults and a seed over its control endpoint', { timeout: 20_000 }, async () => {
    const directory = temporaryDirectory();
    const process = await startSimulatedBackend(directory);
    const at = await simulatedFixture(process.environment, directory);
    expect(
      await control(process.socketPath, { seed: 7, faults: [{ verb: 'observe', kind: 'outage', times: 1 }] }),
    ).toBe(200);
    expect(await at.look(at.reference())).toBe('unknown');
    expect(await control(process.socketPath, { faults: [{ verb: 'list', kind: 'tags_lost' }] })).toBe(400);
    await at.close();
    await process.stop();
  });
});

describe('the bill', () => {
  it('charges each running interval once: from ready to the end, also when the own deadline ends it', async () => {
    const at = await simulatedFixture();
    const ended = at.reference();
    await at.provision(ended.name, { priceMicroUsdPerHour: 36_000_000_000 }, 60);
    const kept = await at.made();
    await at.provision(kept.name);
    await createSystemClock().sleep(120);
    const bill = at.truth.bill();
    expect(bill.map((line) => line.name)).toEqual([ended.name, kept.name]);
    expect(bill[0]!.endAtMs! - bill[0]!.startAtMs).toBe(60);
    expect(bill[0]!.microUsd).toBe(600_000);
    expect((await at.extension.meter!(ended, at.signal)).costMicroUsd).toBe(600_000);
    expect(bill[1]!.endAtMs).toBe(null);
    await at.destroy(kept);
    const soonMs = Date.now() + 10; // the backend's clock may read a millisecond ahead of the machine's
    expect(at.truth.bill(soonMs).every((line) => line.endAtMs !== null)).toBe(true);
    await at.close();
  });

  it('is read from the file alone', async () => {
    const directory = temporaryDirectory();
    const extension = await createExtension(simulatedContext(directory));
    await extension.close();
    const truth = readSimulatedTruth(directory);
    expect(truth.totalMicroUsd()).toBe(0);
    truth.close();
  });
});

function control(socketPath: string, value: unknown): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ socketPath, path: '/control', method: 'POST' }, (response) => {
      response.resume();
      response.once('end', () => resolve(response.statusCode ?? 0));
    });
    request.once('error', reject);
    request.end(JSON.stringify(value));
  });
}
