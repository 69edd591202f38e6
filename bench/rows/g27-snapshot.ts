/** G27: how fast the files of a stack on a host become a snapshot, against tar and zstd over the same kind of connection. */
import { rmSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { shell } from '../kit/files.ts';
import { ratioBetween, runRounds } from '../kit/rounds.ts';
import { atLeast, type Bench, type Row, resultOf, told } from '../kit/row.ts';
import { createSandbox, destroySandbox, timed } from '../kit/sandboxes.ts';
import { openStackHost, STACK_PROFILE_ID, type StackHost } from '../kit/stack-host.ts';

const OURS = 'sand-boxer snapshot over HTTP';
const PLAIN = 'ssh (shared connection) tar | zstd -1, synced';
/** Some 340 MB: programs, texts and many small files. */
const MIXED_FILES = join(import.meta.dirname, '..', '..', 'node_modules');

interface Snapshot {
  readonly snapshot_id: string;
  readonly parts: readonly { readonly bytes: number }[];
}

async function filledSandbox(bench: Bench, place: StackHost): Promise<{ id: string; directory: string }> {
  const { client } = place.server;
  const id = await createSandbox(client, STACK_PROFILE_ID);
  bench.atEnd(() => destroySandbox(client, id));
  const { host } = place;
  await host.run(['mount', '-o', 'remount,size=1g', host.baseDirectory]);
  const directory = `${host.baseDirectory}/${id}`;
  await cp(MIXED_FILES, join(host.outsidePath(directory), 'files'), {
    recursive: true,
    verbatimSymlinks: true,
  });
  return { id, directory };
}

export const g27: Row = {
  id: 'G27',
  title: 'a snapshot of a stack on a host over SSH',
  async run(bench) {
    const place = await openStackHost(bench);
    const { client } = place.server;
    const { id, directory } = await filledSandbox(bench, place);
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
    const rounds = await runRounds(
      [
        { name: OURS, run: ours },
        { name: PLAIN, isReference: true, run: plain },
      ],
      { rounds: bench.heavyRounds, warmUp: 1 },
    );
    const bytes = (last as Snapshot | null)?.parts.reduce((sum, part) => sum + part.bytes, 0) ?? 0;
    return resultOf(rounds, {
      judgements: [
        atLeast('throughput against tar | zstd -1', 1 / ratioBetween(rounds, OURS, PLAIN), '×', [0.8, null]),
        told('content', bytes / 1e6, 'MB'),
      ],
      floors: [],
      notes: [
        'one loopback host in namespaces, so the way there costs nothing but SSH itself',
        'ours is also checked entry by entry, hashed, recorded, and synced with its directory',
      ],
    });
  },
};
