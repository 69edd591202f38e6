import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BackendProcess, startSimulatedBackend } from '../../../test/standins/simulated-backend.ts';
import { simulatedHarness, temporaryDirectory } from '../../../test/standins/simulated-harness.ts';
import { describeConformance } from '../../conformance/suite.ts';
import { ENVIRONMENT_NAMES, readConfiguration } from './config.ts';

describeConformance({ describe, it }, 'ext.simulated over a file', simulatedHarness(temporaryDirectory()));

describe('ext.simulated over a backend process', () => {
  const directory = temporaryDirectory();
  const socket = `${directory}/backend.sock`;
  let process: BackendProcess | null = null;
  beforeAll(async () => {
    process = await startSimulatedBackend(directory, socket);
  });
  afterAll(async () => {
    await process?.stop();
  });
  describeConformance(
    { describe, it },
    'the suite',
    simulatedHarness(directory, { SANDBOXER_SIMULATED_SOCKET: socket }),
  );
});

describe('the configuration of ext.simulated', () => {
  it('reads the variables that the manifest names', () => {
    const { config } = simulatedHarness(temporaryDirectory()).manifest!;
    expect(
      Object.values(config)
        .map((field) => field.environment)
        .sort(),
    ).toEqual([...ENVIRONMENT_NAMES].sort());
    const read: Record<string, unknown> = { ...readConfiguration({}, '/nowhere') };
    expect(config.priceMicroUsdPerHour?.default).toBe(read.priceMicroUsdPerHour);
    expect(config.requestTimeoutMs?.default).toBe(read.requestTimeoutMs);
  });

  it('names the variable that cannot be used', () => {
    const wrong = { SANDBOXER_SIMULATED_TIMEOUT_MS: 'soon' };
    expect(() => readConfiguration(wrong, '/nowhere')).toThrow(/SANDBOXER_SIMULATED_TIMEOUT_MS/);
  });
});
