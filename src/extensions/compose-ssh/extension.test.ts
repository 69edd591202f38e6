import { afterAll, beforeAll, describe, it } from 'vitest';
import { type ComposeLab, composeHarness, startComposeLab } from '../../../test/standins/compose-harness.ts';
import { describeConformance } from '../../conformance/suite.ts';

describe.runIf(process.getuid?.() === 0)('ext.compose-ssh on a real host', () => {
  let lab: ComposeLab | null = null;
  beforeAll(async () => {
    lab = await startComposeLab(1);
  });
  afterAll(() => lab?.stop());
  describeConformance(
    { describe, it },
    'the suite',
    composeHarness(() => lab!),
  );
});
