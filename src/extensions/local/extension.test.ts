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
afterAll(() => directory.remove());

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

describe('without bubblewrap', () => {
  it('says the command that installs it, and starts nothing', async () => {
    const extension = await createExtension(localContext(directory.path, { PATH: '/nowhere' }));
    const health = await extension.health(new AbortController().signal);
    expect(health).toEqual({ ok: false, reason: expect.stringContaining('apt-get install bubblewrap') });
    await extension.close();
  });
});
