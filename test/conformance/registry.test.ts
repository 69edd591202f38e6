/** The registry is what the folders say, and a manifest that is wrong is refused with the place. */
import { describe, expect, it } from 'vitest';
import { EXTENSIONS } from '../../src/extensions/registry.gen.ts';
import { ExtensionError } from '../../src/ports/extension.ts';
import { checkManifest, parseManifest } from '../../src/ports/manifest.ts';

const GOOD = EXTENSIONS['ext.simulated']!.manifest;

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(ExtensionError);
    return (error as ExtensionError).message;
  }
  return 'accepted';
}

describe('the registry', () => {
  it('holds valid manifests under their own ids, and loads the code when asked', async () => {
    for (const [id, { manifest, load }] of Object.entries(EXTENSIONS)) {
      expect(checkManifest(manifest, id).id).toBe(id);
      expect((await load()).createExtension).toBeTypeOf('function');
    }
  });
});

describe('a manifest is refused', () => {
  it.each([
    ['id', { ...GOOD, id: 'simulated' }, /m\.yaml: id: /],
    [
      'a missing flag',
      { ...GOOD, capabilities: { ...GOOD.capabilities, pause: undefined } },
      /capabilities\.pause/,
    ],
    ['an unknown field', { ...GOOD, extra: 1 }, /extra/],
    [
      'an unknown level',
      { ...GOOD, capabilities: { ...GOOD.capabilities, isolationLevels: ['hope'] } },
      /isolationLevels\.0/,
    ],
    ['a metered backend that ends with the machine', { ...GOOD, endsWithMachine: true }, /endsWithMachine: /],
    [
      'a default of another type',
      { ...GOOD, config: { price: { type: 'number', default: 'many', description: 'x' } } },
      /config\.price: the default has another type/,
    ],
  ])('for %s', (_what, value, message) => {
    expect(refusal(() => checkManifest(value, 'm.yaml'))).toMatch(message);
  });

  it('with the line of what is no YAML', () => {
    expect(refusal(() => parseManifest('id: ext.a\ntitle: [\n', 'm.yaml'))).toMatch(/^m\.yaml:[23]: /);
    expect(refusal(() => parseManifest('id: ext.a\nid: ext.b\n', 'm.yaml'))).toMatch(/^m\.yaml:2: /);
    expect(refusal(() => parseManifest('x'.repeat(70_000), 'm.yaml'))).toMatch(/too large/);
  });

  it('when it unfolds into something huge', () => {
    const bomb = [
      'a: &a [x,x,x,x,x,x,x,x,x]',
      'b: &b [*a,*a,*a,*a,*a,*a,*a,*a]',
      'c: [*b,*b,*b,*b,*b,*b,*b,*b]',
    ].join('\n');
    expect(refusal(() => parseManifest(bomb, 'm.yaml'))).not.toBe('accepted');
  });
});
