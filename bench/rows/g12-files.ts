/** G12: one large file and many small ones, into a sandbox and out of it. */
import { spawn } from 'node:child_process';
import { createReadStream, createWriteStream, mkdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { HttpTransport } from '../../src/faces/library/http-transport.ts';
import { type Sandbox, Sandboxer } from '../../src/faces/library/sandboxer.ts';
import { hashOfFile, shell, TREE_HASH, writeRandomFile, writeSmallFiles } from '../kit/files.ts';
import { ratioBetween, runRounds } from '../kit/rounds.ts';
import { atLeast, type Bench, type Row, resultOf } from '../kit/row.ts';
import { LOCAL, timed } from '../kit/sandboxes.ts';
import { newHome, scratchDirectory, startServer } from '../kit/server-process.ts';

const MIB = 1024 * 1024;
const SMALL_BYTES = 4_096;

interface Ground {
  readonly sandbox: Sandbox;
  readonly directory: string;
  readonly large: string;
  readonly small: string;
}

async function inside(sandbox: Sandbox, script: string): Promise<string> {
  const { exitCode, stdout, stderr } = await sandbox.run(['sh', '-c', script]);
  if (exitCode !== 0) throw new Error(`inside: ${stderr.slice(0, 200)}`);
  return stdout.trim();
}

function mustEqual(left: string, right: string): void {
  if (left !== right) throw new Error('what arrived is not what was sent');
}

function tarOut(directory: string): AsyncIterable<Uint8Array> {
  return spawn('tar', ['-C', directory, '-cf', '-', '.'], { stdio: ['ignore', 'pipe', 'inherit'] }).stdout;
}

async function tarIn(directory: string, source: AsyncIterable<Uint8Array>): Promise<void> {
  const child = spawn('tar', ['-C', directory, '-xf', '-'], { stdio: ['pipe', 'ignore', 'inherit'] });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  await pipeline(Readable.from(source, { objectMode: false }), child.stdin);
  const code = await ended;
  if (code !== 0) throw new Error(`tar ended with ${code}`);
}

function tarToTar(ground: Ground, source: string): Promise<number> {
  const target = join(ground.directory, 'by-tar');
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target);
  return timed(() => shell('tar -C "$1" -cf - . | tar -C "$2" -xf -', source, target));
}

async function writeLarge({ sandbox, large }: Ground): Promise<number> {
  await inside(sandbox, 'rm -rf /workspace/*');
  const tookMs = await timed(() => sandbox.writeFile('/workspace/large', createReadStream(large)));
  mustEqual(await inside(sandbox, 'sha256sum < /workspace/large | cut -c1-64'), await hashOfFile(large));
  return tookMs;
}

async function readLarge({ sandbox, large, directory }: Ground): Promise<number> {
  const target = join(directory, 'large-back');
  const tookMs = await timed(async () =>
    pipeline(
      Readable.from(await sandbox.streamFile('/workspace/large'), { objectMode: false }),
      createWriteStream(target),
    ),
  );
  mustEqual(await hashOfFile(target), await hashOfFile(large));
  return tookMs;
}

async function writeSmall({ sandbox, small }: Ground): Promise<number> {
  await inside(sandbox, 'rm -rf /workspace/small');
  const tookMs = await timed(() => sandbox.writeArchive('/workspace/small', tarOut(small)));
  mustEqual(
    await inside(sandbox, `cd /workspace/small && ${TREE_HASH}`),
    await shell(`cd "$1" && ${TREE_HASH}`, small),
  );
  return tookMs;
}

async function readSmall({ sandbox, small, directory }: Ground): Promise<number> {
  const target = join(directory, 'small-back');
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target);
  const tookMs = await timed(async () => tarIn(target, await sandbox.readArchive('/workspace/small')));
  mustEqual(
    await shell(`cd "$1"/small && ${TREE_HASH}`, target),
    await shell(`cd "$1" && ${TREE_HASH}`, small),
  );
  return tookMs;
}

const LARGE_TAR = '`tar | tar`, one large file';
const SMALL_TAR = '`tar | tar`, many small files';
const TURNS: readonly [name: string, against: string, run: (ground: Ground) => Promise<number>][] = [
  ['writeFile, one large file', LARGE_TAR, writeLarge],
  ['streamFile, one large file', LARGE_TAR, readLarge],
  ['writeArchive, many small files', SMALL_TAR, writeSmall],
  ['readArchive, many small files', SMALL_TAR, readSmall],
];

async function prepare(bench: Bench, largeBytes: number, smallCount: number): Promise<Ground> {
  const server = await startServer(bench, { home: newHome(bench, 'files') });
  const library = new Sandboxer(new HttpTransport({ kind: 'socket', path: server.socketPath }));
  const sandbox = await library.create({ profile: LOCAL });
  bench.atEnd(() => sandbox.destroy().then(() => library.close()));
  const directory = scratchDirectory(bench, 'files');
  const large = join(directory, 'large-source', 'large');
  const small = join(directory, 'small-source');
  mkdirSync(join(directory, 'large-source'));
  await writeRandomFile(large, largeBytes);
  writeSmallFiles(small, smallCount, SMALL_BYTES);
  const ground = { sandbox, directory, large, small };
  return ground;
}

export const g12: Row = {
  id: 'G12',
  title: 'files, both ways, byte-exact',
  async run(bench) {
    const largeBytes = bench.number('SANDBOXER_BENCH_FILE_MIB', 1_024, 256) * MIB;
    const smallCount = bench.number('SANDBOXER_BENCH_FILES', 10_000, 10_000);
    const ground = await prepare(bench, largeBytes, smallCount);
    const sources: Readonly<Record<string, string>> = {
      [LARGE_TAR]: dirname(ground.large),
      [SMALL_TAR]: ground.small,
    };
    const groups = [];
    for (const [against, write] of [
      [LARGE_TAR, writeLarge],
      [SMALL_TAR, writeSmall],
    ] as const) {
      await write(ground); // what the reads find, whichever comes first
      const turns = TURNS.filter(([, opponent]) => opponent === against);
      groups.push(
        await runRounds(
          [
            ...turns.map(([name, , run]) => ({ name, run: () => run(ground) })),
            { name: against, isReference: true, run: () => tarToTar(ground, sources[against]!) },
          ],
          { rounds: bench.heavyRounds, warmUp: 0 },
        ),
      );
    }
    const rounds = {
      series: groups.flatMap(({ series }) => series),
      selfDifference: Math.max(...groups.map(({ selfDifference }) => selfDifference ?? 0)),
    };
    return resultOf(rounds, {
      judgements: TURNS.map(([name, against]) =>
        atLeast(`speed of ${name} against ${against}`, ratioBetween(rounds, against, name), '×', [0.7, 0.7]),
      ),
      notes: [
        `large: ${statSync(ground.large).size / MIB} MiB; small: ${smallCount} × ${SMALL_BYTES} bytes; same disk, no fsync on either side`,
        'every transfer is checked by hash outside the timed part; a wrong byte counts as a failure',
      ],
    });
  },
};
