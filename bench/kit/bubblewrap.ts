/** The opponent next door: bubblewrap alone, asked for the same isolation, started from Node. */
import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Bench } from './row.ts';
import { SCRATCH } from './server-process.ts';

/** x86-64 numbers of calls that reach for the kernel's own devices; refused, as in our sandboxes. */
const DENIED_CALLS = [
  101, 155, 165, 166, 167, 168, 169, 175, 176, 246, 248, 249, 250, 272, 298, 304, 308, 313, 321, 323, 425,
  426, 427, 428, 429, 430, 432,
];

function seccompFilter(): Buffer {
  const count = DENIED_CALLS.length;
  const program: [code: number, yes: number, no: number, value: number][] = [
    [0x20, 0, 0, 4],
    [0x15, 1, 0, 0xc000003e],
    [0x06, 0, 0, 0x80000000],
    [0x20, 0, 0, 0],
    ...DENIED_CALLS.map((call, index): [number, number, number, number] => [0x15, count - index, 0, call]),
    [0x06, 0, 0, 0x7fff0000],
    [0x06, 0, 0, 0x00050001],
  ];
  const bytes = Buffer.alloc(program.length * 8);
  for (const [index, [code, yes, no, value]] of program.entries()) {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(yes, index * 8 + 2);
    bytes.writeUInt8(no, index * 8 + 3);
    bytes.writeUInt32LE(value, index * 8 + 4);
  }
  return bytes;
}

function programDirectories(): string[] {
  return ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'].filter(existsSync).flatMap((path) => {
    if (lstatSync(path).isSymbolicLink()) return ['--symlink', readlinkSync(path), path];
    return ['--ro-bind', path, path];
  });
}

const ISOLATION = [
  '--unshare-all',
  '--new-session',
  '--die-with-parent',
  ...['--cap-drop', 'ALL'],
  ...['--ro-bind', '/usr', '/usr'],
  ...programDirectories(),
  ...['--ro-bind', '/etc', '/etc'],
  ...['--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp'],
];

export interface RawBubblewrap {
  /** Starts a fresh sandbox, runs the command in it, waits for its end. */
  run(command: readonly string[]): Promise<void>;
}

export function rawBubblewrap(bench: Bench): RawBubblewrap {
  const directory = mkdtempSync(join(SCRATCH, 'sandboxer-bench-bwrap-'));
  bench.atEnd(() => rmSync(directory, { recursive: true, force: true }));
  const filter = join(directory, 'seccomp.bpf');
  writeFileSync(filter, seccompFilter());
  const hasFilter = process.arch === 'x64';
  return {
    run(command) {
      return new Promise((resolve, reject) => {
        const descriptor = openSync(filter, 'r');
        const child = spawn('bwrap', [...ISOLATION, ...(hasFilter ? ['--seccomp', '3'] : []), ...command], {
          stdio: ['ignore', 'ignore', 'ignore', descriptor],
        });
        closeSync(descriptor);
        child.once('error', (cause) =>
          reject(new Error('The opponent needs: apt-get install bubblewrap', { cause })),
        );
        child.once('exit', (code) =>
          code === 0 ? resolve() : reject(new Error(`bwrap ended with ${code}`)),
        );
      });
    },
  };
}
