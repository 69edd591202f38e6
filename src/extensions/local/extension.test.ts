import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import {
  localContext,
  localDirectory,
  localHarness,
  localSpec,
} from '../../../test/standins/local-harness.ts';
import { describeConformance } from '../../conformance/suite.ts';
import { createExtension } from './extension.ts';

const directory = localDirectory();
const unproven = localDirectory();
afterAll(() => {
  directory.remove();
  unproven.remove();
});

describeConformance({ describe, it }, 'ext.local', localHarness(directory.path));

describe('ext.local refuses rather than ignore', () => {
  const refused: [string, Parameters<typeof localSpec>[0], RegExp][] = [
    ['another isolation level', { isolationLevel: 'vm' }, /has no vm/],
    ['a network', { network: { default: 'allow', egress: [] } }, /no network/],
    ['an egress list', { network: { default: 'deny', egress: ['example.org'] } }, /no network/],
    ['another host', { placement: { host: 'elsewhere' } }, /this machine only/],
    ['an unknown input', { inputs: { rpeo: '.' } }, /no input "rpeo"/],
    ['an unknown configuration', { configuration: { colour: 1 } }, /does not fit ext.local/],
    ['a repository that is not there', { inputs: { repo: '/nowhere/at/all' } }, /does not exist/],
    ['a repository that is a file', { inputs: { repo: '/etc/hostname' } }, /not a directory/],
  ];
  for (const [what, overrides, sentence] of refused) {
    it(what, async () => {
      const extension = await createExtension(localContext(directory.path));
      await expect(extension.validate(localSpec(overrides))).rejects.toThrow(sentence);
      await extension.close();
    });
  }
});

describe('where the kernel refuses namespaces', () => {
  it('says so and starts nothing', () => {
    const program = fileURLToPath(new URL('../../../test/standins/local-health.ts', import.meta.url));
    const forbid = 'echo 0 > /proc/sys/user/max_net_namespaces; exec "$0" "$1" "$2"';
    const asUser = ['--user', '--map-user=1000', '--map-group=1000', '--keep-caps'];
    const command = [...asUser, 'sh', '-c', forbid, process.execPath, program, unproven.path];
    const health: unknown = JSON.parse(execFileSync('unshare', command, { encoding: 'utf8' }));
    expect(health).toEqual({
      ok: false,
      reason: expect.stringMatching(/cannot isolate.*make the namespaces: No space left on device/),
    });
  });
});
