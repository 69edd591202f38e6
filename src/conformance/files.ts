/** Files inside, byte for byte. */
import { posix } from 'node:path';
import type { Reference } from '../ports/extension.ts';
import { type Bench, type CaseRow, ensure, NO_ABORT } from './bench.ts';
import { run, shell } from './run.ts';

const MODE_BITS = 0o640;
const LARGE_BYTES = 300_000;
const PIECE_BYTES = 10_000;

async function* pieces(data: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < data.length; start += PIECE_BYTES)
    yield data.subarray(start, start + PIECE_BYTES);
}

function write(
  bench: Bench,
  made: Reference,
  path: string,
  data: Uint8Array,
  makeParents = false,
): Promise<number> {
  const options = { modeBits: MODE_BITS, makeParents };
  return bench.within(
    bench.extension.sessions!.writeFile(made, path, pieces(data), options, NO_ABORT),
    'writeFile',
  );
}

async function read(bench: Bench, made: Reference, path: string): Promise<Buffer> {
  const work = async () => {
    const parts: Uint8Array[] = [];
    for await (const part of await bench.extension.sessions!.readFile(made, path, NO_ABORT))
      parts.push(part.slice());
    return Buffer.concat(parts);
  };
  return bench.within(work(), 'readFile');
}

/** The sandbox's own working directory, where writing must be possible. */
async function home(bench: Bench, made: Reference): Promise<string> {
  return (await run(bench, made, ['pwd'])).stdout.toString().trim();
}

export const FILE_CASES: readonly CaseRow[] = [
  {
    name: 'files.round-trip',
    guarantee: 'A file comes back byte for byte: empty, binary, large, and under an odd name.',
    async check(bench) {
      const made = await bench.running();
      const directory = await home(bench, made);
      const binary = Uint8Array.from(
        { length: LARGE_BYTES },
        (_, index) => (index * 31 + (index >> 8)) & 255,
      );
      const contents = {
        'empty.bin': new Uint8Array(),
        'binary.bin': binary,
        'odd näme;$x.txt': Buffer.from('ü\r\n\0'),
      };
      for (const [name, data] of Object.entries(contents)) {
        const path = posix.join(directory, name);
        const sizeBytes = await write(bench, made, path, data);
        ensure(sizeBytes === data.length, `writing ${name} of ${data.length} bytes answered ${sizeBytes}`);
        ensure((await read(bench, made, path)).equals(data), `${name} came back changed`);
        const entry = await bench.extension.sessions!.stat(made, path, NO_ABORT);
        ensure(entry !== null && entry.type === 'file', `stat of ${name} says ${entry?.type ?? 'nothing'}`);
        ensure(
          entry.name === name && entry.sizeBytes === data.length,
          `stat says ${entry.name}, ${entry.sizeBytes} bytes`,
        );
        ensure((entry.modeBits & 0o777) === MODE_BITS, `its mode is ${entry.modeBits.toString(8)}`);
      }
    },
  },
  {
    name: 'files.overwrite',
    guarantee: 'Writing a shorter file over a longer one leaves no tail.',
    async check(bench) {
      const made = await bench.running();
      const path = posix.join(await home(bench, made), 'twice.txt');
      await write(bench, made, path, Buffer.from('a long text'));
      await write(bench, made, path, Buffer.from('short'));
      ensure((await read(bench, made, path)).toString() === 'short', 'the old tail is still there');
    },
  },
  {
    name: 'files.missing',
    guarantee: 'stat of what is missing is null; reading it fails.',
    async check(bench) {
      const made = await bench.running();
      const path = posix.join(await home(bench, made), 'missing');
      ensure(
        (await bench.extension.sessions!.stat(made, path, NO_ABORT)) === null,
        'stat of a missing file is not null',
      );
      await bench.fails(() => read(bench, made, path), 'reading a missing file');
    },
  },
  {
    name: 'files.parents',
    guarantee: 'Missing parents are made when asked for, and only then.',
    async check(bench) {
      const made = await bench.running();
      const directory = posix.join(await home(bench, made), 'one/two');
      const path = posix.join(directory, 'three.txt');
      await bench.fails(
        () => write(bench, made, path, Buffer.from('x')),
        'writing below a missing directory',
      );
      await write(bench, made, path, Buffer.from('x'), true);
      const entry = await bench.extension.sessions!.stat(made, directory, NO_ABORT);
      ensure(entry?.type === 'directory', `the parent is ${entry?.type ?? 'missing'}`);
    },
  },
  {
    name: 'files.list',
    guarantee: 'A directory lists what is in it, once, and nothing of its sub-directories.',
    async check(bench) {
      const made = await bench.running();
      const directory = posix.join(await home(bench, made), 'listed');
      for (const name of ['a', 'b', 'deep/c'])
        await write(bench, made, posix.join(directory, name), Buffer.from(name), true);
      const entries = await bench.extension.sessions!.listDirectory(made, directory, NO_ABORT);
      const found = entries.map(({ name, type }) => `${name}:${type}`).sort();
      ensure(found.join() === 'a:file,b:file,deep:directory', `the directory lists ${found.join()}`);
      const missing = posix.join(directory, 'missing');
      await bench.fails(
        () => bench.extension.sessions!.listDirectory(made, missing, NO_ABORT),
        'listing what is missing',
      );
    },
  },
  {
    name: 'files.shared-with-commands',
    guarantee: 'Commands and file calls see the same files.',
    async check(bench) {
      const made = await bench.running();
      const directory = await home(bench, made);
      await write(bench, made, posix.join(directory, 'ours.txt'), Buffer.from('from outside'));
      const ran = await run(bench, made, ['cat', posix.join(directory, 'ours.txt')]);
      ensure(
        ran.stdout.toString() === 'from outside',
        `a command read ${JSON.stringify(ran.stdout.toString())}`,
      );
      await run(bench, made, shell('echo from inside > theirs.txt'));
      const back = (await read(bench, made, posix.join(directory, 'theirs.txt'))).toString();
      ensure(back === 'from inside\n', `a file written by a command reads ${JSON.stringify(back)}`);
    },
  },
  {
    name: 'files.after-destroy',
    guarantee: 'File calls on what is gone fail; none hangs, none answers empty.',
    async check(bench) {
      const made = await bench.running();
      const path = posix.join(await home(bench, made), 'late.txt');
      await bench.destroy(made);
      await bench.untilAbsent(made);
      await bench.fails(() => write(bench, made, path, Buffer.from('x')), 'writing after destroy');
      await bench.fails(() => read(bench, made, path), 'reading after destroy');
      await bench.fails(() => bench.extension.sessions!.stat(made, path, NO_ABORT), 'stat after destroy');
    },
  },
  {
    name: 'ports.closed',
    guarantee: 'A port where nobody listens, or ports that are not supported, are an error and no hang.',
    async check(bench) {
      const made = await bench.running();
      await bench.fails(
        () => bench.extension.sessions!.openPort(made, 1, NO_ABORT),
        'openPort of a closed port',
      );
    },
  },
];
