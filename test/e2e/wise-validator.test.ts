/** The contract with wise-validator and the-custodian, as a test of our side: they run the command and work over SSH. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { StackManifest } from '../lab/stacks.ts';
import { writeRepository } from '../lab/stacks.ts';
import { type ComposeHome, openComposeHome } from '../standins/compose-home.ts';
import { destroyAll } from '../standins/destroy-all.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const VALIDATOR = `${process.execPath} ${join(ROOT, 'test/standins/wise-validator.ts')}`;
const HEALTH = [{ service: 'web', port: 8080, path: '/' }];

describe.runIf(process.getuid?.() === 0)('make e2e', () => {
  let place: ComposeHome;
  let repository: string;
  beforeAll(async () => {
    place = await openComposeHome(1);
    repository = mkdtempSync(join(tmpdir(), 'sbx-repository-'));
  });
  afterAll(async () => {
    await place.lab.stop();
    for (const path of [place.home, repository]) rmSync(path, { recursive: true, force: true });
  });
  afterEach(() => destroyAll(place.home, place.variables));

  function make(
    manifest: Partial<StackManifest>,
    ...words: string[]
  ): Promise<{ code: number; text: string }> {
    writeRepository(repository, 'webAndData', { manifest: { health_checks: HEALTH, ...manifest } });
    const makefile = join(ROOT, 'integrations/the-custodian/e2e.mk');
    const given = [`REPO=${repository}`, 'HOST=host1', `WISE_VALIDATOR=${VALIDATOR}`];
    const environment = { ...place.variables, SANDBOXER_BIN: join(ROOT, 'sandboxer') };
    return new Promise((settle) => {
      execFile('make', ['-f', makefile, 'e2e', ...given, ...words], { env: environment }, (error, out, err) =>
        settle({ code: error === null ? 0 : Number(error.code), text: out + err }),
      );
    });
  }

  it('passes a repository whose checks and test pass, and leaves nothing', async () => {
    const { code, text } = await make({});
    expect({ code, text }).toMatchObject({ code: 0, text: expect.stringMatching(/lab: passed in /) });
    const host = place.lab.hosts[0]!;
    expect([await host.composeProjects(), await host.volumes(), host.baseEntries()]).toEqual([[], [], []]);
  }, 90_000);

  it('fails one whose test fails, and cleans up as the repository says', async () => {
    const { code, text } = await make({ test_command: 'test -e no-such-file', cleanup: 'on_success' });
    expect(code, text).not.toBe(0);
    expect(text).toContain('lab: failed in ');
    expect(await place.lab.hosts[0]!.composeProjects()).toHaveLength(1);
  }, 90_000);

  it('leaves the sandbox when told to keep it', async () => {
    const { code, text } = await make({}, 'KEEP=1', 'WORKSTREAM_ID=stream-7');
    expect(code, text).toBe(0);
    expect(await place.lab.hosts[0]!.composeProjects()).toHaveLength(1);
  }, 90_000);

  it('says which repository it needs', async () => {
    const { code, text } = await make({}, 'REPO=');
    expect(code).not.toBe(0);
    expect(text).toContain('make e2e REPO=');
  });
});
