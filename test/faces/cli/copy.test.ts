import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Bench } from './harness.ts';

const bench = new Bench();
const here = (...parts: string[]) => join(bench.directory, ...parts);
let id: string;

beforeAll(async () => {
  mkdirSync(here('tree', 'sub', 'empty'), { recursive: true });
  writeFileSync(here('tree', 'a.txt'), 'a');
  writeFileSync(here('tree', 'sub', 'run.sh'), '#!/bin/sh\necho ran\n');
  chmodSync(here('tree', 'sub', 'run.sh'), 0o750);
  writeFileSync(here('tree', 'nothing'), '');
  symlinkSync('sub/run.sh', here('tree', 'link'));
  symlinkSync('/etc/passwd', here('tree', 'leads-out'));
  execFileSync('mkfifo', [here('tree', 'pipe')]);
  writeFileSync(here('bytes'), randomBytes(3_000_000));
  id = await bench.create('--profile', 'profile.local');
});
afterAll(() => bench.clear());

const inside = async (script: string) => (await bench.run(['exec', id, '--', 'sh', '-c', script])).stdout;

describe('files', () => {
  test('go in and come back byte for byte, permissions too', async () => {
    const there = await bench.run(['cp', 'bytes', `${id}:/workspace/b`]);
    expect([there.code, there.stdout]).toEqual([0, '']);
    expect(there.stderr).toBe(`Copied 1 file, 3000000 bytes: bytes → ${id}:/workspace/b\n`);
    expect((await bench.run(['cp', `${id}:/workspace/b`, 'back', '--quiet'])).stderr).toBe('');
    expect(readFileSync(here('back')).equals(readFileSync(here('bytes')))).toBe(true);
    await bench.run(['cp', 'tree/sub/run.sh', `${id}:/workspace/`]);
    expect(await inside('./run.sh')).toBe('ran\n');
  });

  test('into a directory keep their name', async () => {
    await bench.run(['cp', 'tree/a.txt', `${id}:/workspace`]);
    expect(await inside('cat a.txt')).toBe('a');
    mkdirSync(here('into'));
    await bench.run(['cp', `${id}:/workspace/a.txt`, 'into']);
    expect(readFileSync(here('into', 'a.txt'), 'utf8')).toBe('a');
  });

  test('- is standard input and output', async () => {
    await bench.run(['cp', '-', `${id}:/workspace/in`], { stdin: 'typed' });
    const { stdout } = await bench.run(['cp', `${id}:/workspace/in`, '-']);
    expect(stdout).toBe('typed');
  });

  test('that are not there leave nothing behind', async () => {
    const cases = [
      [['cp', `${id}:/workspace/none`, 'x'], /No such file/],
      [['cp', 'none', `${id}:/workspace/x`], /none: no such file/],
      [['cp', `${id}:/workspace/a.txt`, 'no/such/place'], /There is no directory/],
    ] as const;
    for (const [words, said] of cases) {
      const { code, stderr } = await bench.run(words);
      expect(code).toBe(2);
      expect(stderr).toMatch(said);
    }
    expect(readdirSync(bench.directory).filter((name) => name.includes('partial') || name === 'x')).toEqual(
      [],
    );
  });
});

describe('directories', () => {
  test('go in whole; what is no file is named and left out', async () => {
    const { code, stderr } = await bench.run(['cp', 'tree', `${id}:/workspace/tree`]);
    expect(code).toBe(0);
    expect(stderr).toMatch(/Copied 3 files/);
    expect(stderr).toMatch(/left out pipe: neither/);
    const found = await inside('cd tree && find . | sort && readlink link && sub/run.sh');
    expect(found.split('\n')).toEqual([
      '.',
      './a.txt',
      './leads-out',
      './link',
      './nothing',
      './sub',
      './sub/empty',
      './sub/run.sh',
      'sub/run.sh',
      'ran',
      '',
    ]);
  });

  test('come back whole, without the links that lead out', async () => {
    const { code, stderr } = await bench.run(['cp', `${id}:/workspace/tree`, 'copy']);
    expect(code).toBe(0);
    expect(stderr).toMatch(/left out leads-out: a link that leads out, to \/etc\/passwd/);
    expect(readdirSync(here('copy')).sort()).toEqual(['a.txt', 'link', 'nothing', 'sub']);
    expect(statSync(here('copy', 'sub', 'run.sh')).mode & 0o777).toBe(0o750);
  });

  test('follow the rules of cp -r: below what is there, and dir/. means the contents', async () => {
    mkdirSync(here('there'));
    await bench.run(['cp', `${id}:/workspace/tree`, 'there']);
    expect(readdirSync(here('there'))).toEqual(['tree']);
    await bench.run(['cp', `${id}:/workspace/tree/.`, 'there']);
    expect(existsSync(here('there', 'a.txt'))).toBe(true);
    await bench.run(['cp', 'tree/sub', `${id}:/workspace`]);
    await bench.run(['cp', 'tree/sub/.', `${id}:/workspace/flat`]);
    expect(await inside('ls sub flat')).toBe('flat:\nempty\nrun.sh\n\nsub:\nempty\nrun.sh\n');
  });
});

test('a tar inside that lies is refused, and leaves nothing behind', async () => {
  const liar = "import tarfile,sys,io\nt=tarfile.open(fileobj=sys.stdout.buffer,mode='w|')\n";
  const evil =
    "for n in ('tree/ok','tree/../../evil'):\n i=tarfile.TarInfo(n);i.size=1;t.addfile(i,io.BytesIO(b'x'))\nt.close()\n";
  const script = 'printf "#!/usr/bin/python3\\n%s" "$1" > /usr/bin/tar && chmod 755 /usr/bin/tar';
  const install = await bench.run([
    'exec',
    id,
    '--user',
    'root',
    '--',
    'sh',
    '-c',
    script,
    'sh',
    liar + evil,
  ]);
  if (install.code !== 0)
    await inside('true'); // not writable here: then there is nothing to lie with
  else {
    const { code, stderr } = await bench.run(['cp', `${id}:/workspace/tree`, 'refused']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/The archive names "tree\/\.\.\/\.\.\/evil"/);
  }
  const left = readdirSync(bench.directory).filter((name) => /refused|evil|partial/.test(name));
  expect(left).toEqual([]);
});
