/** Taking what a sandbox holds out of it, and beginning another one with it. */
import { randomBytes } from 'node:crypto';
import { SNAPSHOT_ID_BYTES, snapshotId } from '../domain/snapshot/manifest.ts';
import type { CapturedPart, RestoreSource } from '../ports/snapshot.ts';
import { type Bench, type CaseRow, ensure, type Made, NO_ABORT } from './bench.ts';

interface HeldPart extends Pick<CapturedPart, 'part'> {
  readonly chunks: readonly Uint8Array[];
}

const newId = () => snapshotId(randomBytes(SNAPSHOT_ID_BYTES));

async function captureAll(bench: Bench, made: Made): Promise<readonly HeldPart[]> {
  const request = { snapshotId: newId(), baseId: newId() };
  const capture = await bench.within(bench.extension.snapshots!.capture(made, request, NO_ABORT), 'capture');
  const held: HeldPart[] = [];
  for (const { part, isChanges, open } of capture.parts) {
    ensure(isChanges !== true, 'it built on a snapshot that never was');
    const chunks: Uint8Array[] = [];
    for await (const chunk of await open(NO_ABORT)) chunks.push(Uint8Array.from(chunk));
    held.push({ part, chunks });
  }
  await capture.end?.();
  return held;
}

/** As the core gives it, without its checks; `breaksOff` in the middle of the first part. */
function sourceOf(parts: readonly HeldPart[], breaksOff = false): RestoreSource {
  async function* bytes(chunks: readonly Uint8Array[]) {
    if (!breaksOff) return yield* chunks;
    yield chunks[0]!.subarray(0, 512);
    throw new Error('the archive ends here');
  }
  return {
    snapshotId: newId(),
    parts: parts.map(({ part }) => part),
    async *read() {
      for (const { part, chunks } of parts) yield { part, open: () => bytes(chunks), reuse: () => undefined };
    },
  };
}

export const SNAPSHOT_CASES: readonly CaseRow[] = [
  {
    name: 'snapshots.go-round',
    guarantee: 'What is captured, the workspace first, can be restored, and the source runs on.',
    async check(bench) {
      const made = await bench.running();
      const parts = await captureAll(bench, made);
      ensure(parts[0]?.part.kind === 'workspace', 'the workspace is not the first part');
      const { kinds } = bench.extension.snapshots!;
      for (const { part, chunks } of parts) {
        ensure(kinds.includes(part.kind), `a ${part.kind} was captured, which is not among the kinds`);
        ensure(chunks.length > 0, `the ${part.kind} is empty: not even its top directory is there`);
      }
      const spec = { ...bench.harness.spec(), restored: true };
      const restored = await bench.running({ spec, restore: sourceOf(parts) });
      await bench.untilRunning(made);
      await bench.destroy(restored);
      await bench.untilAbsent(restored);
    },
  },
  {
    name: 'snapshots.source-breaks-off',
    guarantee: 'A source that breaks off makes nothing that runs, and what it left can be removed.',
    async check(bench) {
      const made = await bench.running();
      const parts = await captureAll(bench, made);
      const name = bench.harness.newName();
      const spec = { ...bench.harness.spec(), restored: true };
      const request = bench.request(name, { spec, restore: sourceOf(parts, true) });
      const refused = await bench.within(
        bench.extension.provision(request).then(
          () => false,
          () => true,
        ),
        'provision',
      );
      ensure(refused, 'provision accepted a source that breaks off');
      const seen = await bench.observe({ name, epoch: 1, handle: null });
      ensure(seen.kind !== 'present' || seen.state !== 'running', 'it runs, though its source broke off');
      await bench.destroy({ name, epoch: 1, handle: null });
      await bench.untilAbsent({ name, epoch: 1, handle: null });
    },
  },
];
