import { expect } from 'vitest';
import type { Sandbox } from '../../src/faces/library/index.ts';

/** Runs a script inside that must end well and complain of nothing; answers what it said. */
export async function shell(sandbox: Sandbox, script: string): Promise<string> {
  const { stdout, stderr, exitCode } = await sandbox.run(['sh', '-c', script]);
  expect([exitCode, stderr], script).toEqual([0, '']);
  return stdout;
}
