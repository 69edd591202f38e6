/** What a copy to a host promises, by rsync and by tar, over SSH and here. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { hostSchema } from '../../src/domain/host/host.ts';
import type { HostLink } from '../../src/ports/host-link.ts';
import { eventually, type Sshd, startSshd } from './sshd.ts';

const never = new AbortController().signal;
const ODD = [
  '-rf',
  '#hash',
  ';semi',
  '--checkpoint-action=exec=id',
  'a b',
  'line\nbreak',
  "it's",
  '$(id)',
  '*',
  'ü漢',
  '#x',
  ';',
];

let sshd: Sshd;
let work: string;
let from: string;
let to: string;
let serial = 0;
const links: Record<string, HostLink> = {};

/** A PATH on which every program is but rsync. */
function pathWithoutRsync(): string {
  const directory = join(work, 'bin');
  mkdirSync(directory);
  for (const program of ['sh', 'env', 'tar', 'ssh', 'mkdir']) {
    const found = process.env.PATH!.split(delimiter).find((entry) => existsSync(join(entry, program)));
    symlinkSync(join(found!, program), join(directory, program));
  }
  return directory;
}

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'upload-'));
  sshd = await startSshd();
  const here = hostSchema.parse({ name: 'here', ssh: null });
  const PATH = pathWithoutRsync();
  links['rsync over ssh'] = sshd.links().link(sshd.host);
  links['tar over ssh'] = sshd.links({ PATH }).link(sshd.host);
  links['rsync here'] = sshd.links().link(here);
  links['tar here'] = sshd.links({ PATH }).link(here);
});
afterAll(async () => {
  await sshd.remove();
  rmSync(work, { recursive: true, force: true });
});

beforeEach(() => {
  serial += 1;
  from = join(work, `from${serial}`);
  to = join(work, `to ${serial}'s`, 'deep');
  mkdirSync(join(from, 'sub', '.hidden'), { recursive: true });
  for (const name of ODD) writeFileSync(join(from, 'sub', name), `content of ${name}`);
  writeFileSync(join(from, 'sub', '.hidden', 'x'), 'x');
  writeFileSync(join(from, 'run.sh'), '#!/bin/sh\n', { mode: 0o755 });
  writeFileSync(join(from, 'secret'), 's', { mode: 0o600 });
  utimesSync(join(from, 'secret'), 1_000_000_000, 1_000_000_000);
  mkdirSync(join(from, 'empty'));
  symlinkSync('/etc', join(from, 'outside'));
  symlinkSync('../../../nowhere', join(from, 'sub', 'dangling'));
  execFileSync('mkfifo', [join(from, 'pipe')]);
});

const upload = (link: HostLink, more: Partial<Parameters<HostLink['upload']>[0]> = {}) =>
  link.upload({ from, to, files: null, signal: never, timeoutMs: 10_000, ...more });

/** Path → what is there, links as links and never followed. */
function picture(directory: string, prefix = ''): Record<string, string> {
  const entries = readdirSync(join(directory, prefix)).flatMap((entry): [string, string][] => {
    const name = prefix === '' ? entry : `${prefix}/${entry}`;
    const path = join(directory, name);
    const stat = lstatSync(path);
    const mode = (stat.mode & 0o7777).toString(8);
    if (stat.isSymbolicLink()) return [[name, `link ${readlinkSync(path)}`]];
    if (stat.isDirectory()) return [[name, `directory ${mode}`], ...Object.entries(picture(directory, name))];
    if (!stat.isFile()) return [[name, 'other']];
    return [[name, `${mode} ${Math.floor(stat.mtimeMs / 1_000)} ${readFileSync(path, 'utf8')}`]];
  });
  return Object.fromEntries(entries.sort());
}

for (const name of ['rsync over ssh', 'tar over ssh', 'rsync here', 'tar here']) {
  describe(`a copy by ${name}`, () => {
    const link = () => links[name]!;

    it('has every odd name, mode, time and link, and no device or pipe', async () => {
      await upload(link());
      const { pipe, ...expected } = picture(from);
      expect(pipe).toBe('other');
      expect(picture(to)).toEqual(expected);
    });

    it('has what was listed and no more', async () => {
      await upload(link(), { files: ['sub/-rf', 'sub/line\nbreak', './run.sh', 'outside', 'empty', 'pipe'] });
      expect(Object.keys(picture(to))).toEqual([
        ...['empty', 'outside', 'run.sh', 'sub', 'sub/-rf', 'sub/line\nbreak'],
      ]);
    });

    it('can be repeated over an older one, and leaves alone what else is there', async () => {
      await upload(link());
      writeFileSync(join(to, 'made-there'), 'by the sandbox');
      writeFileSync(join(from, 'run.sh'), 'newer and longer');
      rmSync(join(from, 'outside'));
      writeFileSync(join(from, 'outside'), 'now a file');
      await upload(link());
      expect(readFileSync(join(to, 'made-there'), 'utf8')).toBe('by the sandbox');
      expect(readFileSync(join(to, 'run.sh'), 'utf8')).toBe('newer and longer');
      expect(readFileSync(join(to, 'outside'), 'utf8')).toBe('now a file');
    });

    it('follows no link out of the tree, and reads nothing outside of it', async () => {
      for (const file of ['outside/passwd', '../x', '/etc/passwd', '', 'sub/../../x', 'missing', 'a\0b'])
        await expect(upload(link(), { files: [file] })).rejects.toMatchObject({ kind: 'invalid' });
      await expect(upload(link(), { from: join(from, 'outside') })).rejects.toMatchObject({
        kind: 'invalid',
      });
      await expect(upload(link(), { to: 'relative' })).rejects.toMatchObject({ kind: 'invalid' });
    });

    it.runIf(userInfo().uid === 0)('tells that the disk there is full', async () => {
      writeFileSync(join(from, 'big'), Buffer.alloc(3 * 1024 * 1024, 1));
      const small = join(work, `small${serial}`);
      mkdirSync(small);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small]);
      try {
        await expect(upload(link(), { to: join(small, 'x') })).rejects.toMatchObject({
          kind: 'capacity',
          message: expect.stringContaining('no space left'),
        });
      } finally {
        execFileSync('umount', [small]);
      }
    });

    it('ends in time, and when its caller gives up', async () => {
      writeFileSync(join(from, 'big'), Buffer.alloc(100 * 1024 * 1024, 1));
      await expect(upload(link(), { timeoutMs: 100 })).rejects.toMatchObject({ kind: 'transient' });
      const signal = AbortSignal.timeout(100);
      await expect(upload(link(), { signal })).rejects.toMatchObject({ kind: 'transient' });
      rmSync(join(from, 'big'));
      await upload(link());
      expect(existsSync(join(to, 'run.sh'))).toBe(true);
    });
  });
}

describe('a copy over ssh', () => {
  it('that is interrupted is transient, and can be repeated', async () => {
    writeFileSync(join(from, 'big'), Buffer.alloc(150 * 1024 * 1024, 1));
    for (const name of ['rsync over ssh', 'tar over ssh']) {
      await links[name]!.run({ command: ['true'], timeoutMs: 10_000 });
      const outcome = expect(upload(links[name]!)).rejects.toMatchObject({ kind: 'transient' });
      await eventually(() => existsSync(to) && readdirSync(to).length > 0);
      await sshd.stop();
      await outcome;
      await sshd.start();
      rmSync(to, { recursive: true });
    }
    rmSync(join(from, 'big'));
    await upload(links['rsync over ssh']!);
    expect(existsSync(join(to, 'run.sh'))).toBe(true);
  });

  it('goes by tar when the host has no rsync', async () => {
    await sshd.stop();
    const config = join(sshd.directory, 'sshd_config');
    writeFileSync(
      config,
      readFileSync(config, 'utf8').replace(/^SetEnv .*$/m, `SetEnv PATH=${join(work, 'bin')}`),
    );
    await sshd.start();
    await upload(sshd.links().link(sshd.host));
    expect(readlinkSync(join(to, 'outside'))).toBe('/etc');
  });

  it('to a place that refuses it says so', async () => {
    chmodSync(from, 0o755);
    await expect(upload(links['rsync here']!, { to: '/proc/nowhere/x' })).rejects.toMatchObject({
      kind: expect.stringMatching(/invalid|transient/),
    });
  });
});
