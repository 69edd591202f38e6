/** The suite is able to fail: every planted defect is rejected by the case that is there for it. */
import { describe, expect, it } from 'vitest';
import { ConformanceViolation, conformanceCases } from '../../src/conformance/suite.ts';
import type { Extension } from '../../src/ports/extension.ts';
import { simulatedHarness, temporaryDirectory } from '../standins/simulated-harness.ts';
import { BROKEN_EXTENSIONS } from './broken-extensions.ts';

function caseOf(name: string, wrap?: (good: Extension) => Extension) {
  const harness = simulatedHarness(temporaryDirectory(), {}, wrap);
  const timings = {
    ...harness.timings,
    readyWithinMs: 500,
    goneWithinMs: 500,
    callWithinMs: 800,
    shortDeadlineMs: 600,
  };
  const found = conformanceCases({ ...harness, timings }).find((one) => one.name === name);
  if (found === undefined) throw new Error(`the suite has no case ${name}`);
  return found;
}

describe('the conformance suite rejects', { timeout: 30_000 }, () => {
  it.concurrent.for(BROKEN_EXTENSIONS)('$defect, by $caughtBy', async ({ caughtBy, wrap }) => {
    const problem = await caseOf(caughtBy, wrap)
      .run()
      .then(
        () => 'the suite accepted it',
        (error: unknown) => error,
      );
    expect(problem).toBeInstanceOf(ConformanceViolation);
  });
});

describe('the conformance suite accepts the unbroken extension', () => {
  const names = [...new Set(BROKEN_EXTENSIONS.map((one) => one.caughtBy))];
  it.concurrent.for(names)('in %s', (name) => caseOf(name).run());
});
