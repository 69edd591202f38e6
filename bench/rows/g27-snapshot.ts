/**
 * G27: how fast the files of a stack on a host become a snapshot, and come back into another stack, against tar and zstd over
 * the same kind of connection; and what a snapshot costs after little changed.
 */
import { randomBytes } from 'node:crypto';
import { readdirSync, rmSync, statSync } from 'node:fs';
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { shell } from '../kit/files.ts';
import { type Contender, type Rounds, ratioBetween, runRounds } from '../kit/rounds.ts';
import { atLeast, atMost, type Bench, type Row, resultOf, told } from '../kit/row.ts';
import { createSandbox, destroySandbox, timed } from '../kit/sandboxes.ts';
import { openStackHost, STACK_PROFILE_ID, type StackHost } from '../kit/stack-host.ts';
import { medianRatio } from '../kit/stats.ts';

const OURS = 'sand-boxer snapshot over HTTP';
const CHANGED = 'sand-boxer snapshot after 1 % of the bytes changed';
const PLAIN = 'ssh (shared connection) tar | zstd -1, synced';
const RESTORE = 'sand-boxer restore over HTTP';
const CREATE = 'sand-boxer create of the same stack, empty';
const PLAIN_BACK = 'zstd -dc | ssh (shared connection) tar -x';
/** Some 360 MB in 8,700 entries: programs, texts and many small files. */
const MIXED_FILES = join(import.meta.dirname, '..', '..', 'node_modules');
/** What was written just before a snapshot is read again by the next one. */
const SETTLED_MS = 2_500;
/** For five workspaces. */
const DISK_MIB_PER_COPY = 2_000;
/** Files of which many make one per cent. */
const CHANGED_FILE_BYTES_MAX = 256 * 1024;

interface Snapshot {
  readonly snapshot_id: string;
  readonly based_on: string | null;
  readonly parts: readonly { readonly bytes: number }[];
}

interface Filled {
  readonly id: string;
  readonly directory: string;
}

async function filledSandbox(bench: Bench, place: StackHost, copies: number): Promise<Filled> {
  const { client } = place.server;
  const id = await createSandbox(client, STACK_PROFILE_ID);
  bench.atEnd(() => destroySandbox(client, id));
  const { host } = place;
  const directory = `${host.baseDirectory}/${id}`;
  for (let copy = 0; copy < copies; copy += 1) {
    const to = join(host.outsidePath(directory), `files-${copy}`);
    await cp(MIXED_FILES, to, { recursive: true, verbatimSymlinks: true });
  }
  return { id, directory };
}

/** What a restore takes beyond a create of the same stack, against the plain way, as the median over the rounds. */
function backRatio({ series }: Rounds): number {
  const of = (name: string) => series.find((one) => one.name === name)!.values;
  const added = of(RESTORE).map((restoreMs, round) => {
    const createMs = of(CREATE)[round];
    return restoreMs === null || createMs === null || createMs === undefined ? null : restoreMs - createMs;
  });
  return medianRatio(of(PLAIN_BACK), added);
}

/** Neighbouring files that hold one per cent of all bytes, the same ones each time. */
function changingFiles(directory: string): readonly { readonly path: string; readonly bytes: number }[] {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((path) => ({ path, bytes: statSync(path).size }));
  let left = files.reduce((sum, { bytes }) => sum + bytes, 0) / 100;
  return files
    .filter(({ bytes }) => bytes <= CHANGED_FILE_BYTES_MAX)
    .filter(({ bytes }) => {
      left -= bytes;
      return left > 0;
    });
}

/** A snapshot of what changed since the one that stays; what changes it takes no time. */
function changedContender(place: StackHost, { id, directory }: Filled): Contender {
  const { client } = place.server;
  const files = changingFiles(place.host.outsidePath(directory));
  const run = async () => {
    for (const { path, bytes } of files) await writeFile(path, randomBytes(bytes));
    const beganAtMs = performance.now();
    const taken = await client.json<Snapshot>('POST', `/v1/sandboxes/${id}/snapshot`, {});
    const tookMs = performance.now() - beganAtMs;
    await client.json('DELETE', `/v1/snapshots/${taken.snapshot_id}`);
    if (taken.based_on === null) throw new Error('everything was captured again');
    return tookMs;
  };
  return { name: CHANGED, run };
}

/** Those who bring it back: ours into a stack of its own, which is also made empty for comparison, and the plain way. */
async function wayBack(place: StackHost, { id, directory }: Filled): Promise<Contender[]> {
  const { host, shared, server } = place;
  const { client } = server;
  const kept = join(place.home, 'kept.tar.zst');
  const pack = 'out=$1 dir=$2; shift 2; "$@" tar -C "$dir" -cf - . | zstd -q -1 -o "$out"';
  await shell(pack, kept, directory, ...shared);
  const path = `/v1/sandboxes/${id}/snapshot`;
  const { snapshot_id: snapshotId } = await client.json<Snapshot>('POST', path, {});
  const made = async (begin: () => Promise<string>) => {
    const beganAtMs = performance.now();
    const sandbox = await begin();
    const tookMs = performance.now() - beganAtMs;
    await destroySandbox(client, sandbox);
    return tookMs;
  };
  const restore = async () => {
    const restored = await client.json<{ sandbox_id: string }>(
      'POST',
      `/v1/snapshots/${snapshotId}/restore`,
      {},
    );
    return restored.sandbox_id;
  };
  const back = `${host.baseDirectory}/plain-back`;
  const plainBack = async () => {
    await host.run(['mkdir', back]);
    const script = 'in=$1 dir=$2; shift 2; zstd -dc "$in" | "$@" tar -C "$dir" -xf -';
    const tookMs = await timed(() => shell(script, kept, back, ...shared));
    await host.run(['rm', '-rf', back]);
    return tookMs;
  };
  return [
    { name: RESTORE, run: () => made(restore) },
    { name: CREATE, run: () => made(() => createSandbox(client, STACK_PROFILE_ID)) },
    { name: PLAIN_BACK, run: plainBack },
  ];
}

export const g27: Row = {
  id: 'G27',
  title: 'a snapshot of a stack on a host over SSH',
  async run(bench) {
    const place = await openStackHost(bench);
    const copies = bench.number('SANDBOXER_BENCH_SNAPSHOT_COPIES', 3, 1);
    await place.host.useDisk(DISK_MIB_PER_COPY * copies);
    const { client } = place.server;
    // Of the first nothing is kept, so that each snapshot of it is a whole one.
    const { id, directory } = await filledSandbox(bench, place, copies);
    const kept = await filledSandbox(bench, place, copies);
    let last: Snapshot | null = null;
    const ours = async () => {
      const beganAtMs = performance.now();
      const taken = await client.json<Snapshot>('POST', `/v1/sandboxes/${id}/snapshot`, {});
      const tookMs = performance.now() - beganAtMs;
      last = taken;
      await client.json('DELETE', `/v1/snapshots/${taken.snapshot_id}`);
      return tookMs;
    };
    const file = join(place.home, 'plain.tar.zst');
    const plain = async () => {
      const script =
        'out=$1 dir=$2; shift 2; "$@" tar -C "$dir" -cf - . | zstd -q -1 -o "$out" && sync "$out"';
      const tookMs = await timed(() => shell(script, file, directory, ...place.shared));
      rmSync(file);
      return tookMs;
    };
    await sleep(SETTLED_MS);
    const back = await wayBack(place, kept);
    const rounds = await runRounds(
      [
        { name: OURS, run: ours },
        { name: PLAIN, isReference: true, run: plain },
        changedContender(place, kept),
        ...back,
      ],
      { rounds: bench.heavyRounds, warmUp: 1 },
    );
    const bytes = (last as Snapshot | null)?.parts.reduce((sum, part) => sum + part.bytes, 0) ?? 0;
    return resultOf(rounds, {
      judgements: [
        atLeast('throughput against tar | zstd -1', 1 / ratioBetween(rounds, OURS, PLAIN), '×', [0.8, null]),
        atMost(
          '1 % changed, against a whole snapshot',
          ratioBetween(rounds, CHANGED, OURS),
          '×',
          [0.05, 0.05],
        ),
        atLeast('restore, less a create, against zstd | tar', backRatio(rounds), '×', [0.8, null]),
        told('content', bytes / 1e6, 'MB'),
      ],
      floors: [],
      notes: [
        'one loopback host in namespaces, so the way there costs nothing but SSH itself',
        'the host keeps its sandboxes on an ext4, which lies in memory as its other files do',
        'ours is also checked entry by entry, hashed, recorded, and synced with its directory',
      ],
    });
  },
};
