/** G26: from the request for a restored sandbox to the end of the first command in it, by the size of its workspace. */
import { ratioBetween, runRounds } from '../kit/rounds.ts';
import { atMost, type Row, resultOf, told } from '../kit/row.ts';
import { createSandbox, destroySandbox, execInside, LOCAL, timed } from '../kit/sandboxes.ts';
import { newHome, type RunningServer, startServer } from '../kit/server-process.ts';
import { summarize } from '../kit/stats.ts';

const FRESH = 'a fresh sandbox';
const LARGE = 'restore of 350 MB';
const SMALL = 'restore of 3.5 MB';
const FILES = 100;

type Client = RunningServer['client'];

/** A snapshot of a workspace of 100 files of that size; its source is gone. */
async function takeSnapshot(client: Client, fileBytes: number): Promise<string> {
  const id = await createSandbox(client, LOCAL);
  const fill = `for n in $(seq ${FILES}); do head -c ${fileBytes} /dev/urandom >file-$n; done`;
  await execInside(client, id, ['sh', '-c', fill]);
  const { snapshot_id: snapshotId } = await client.json<{ snapshot_id: string }>(
    'POST',
    `/v1/sandboxes/${id}/snapshot`,
  );
  await destroySandbox(client, id);
  return snapshotId;
}

async function firstCommand(client: Client, begin: () => Promise<string>): Promise<number> {
  const beganAtMs = performance.now();
  const id = await begin();
  await execInside(client, id, ['/bin/true']);
  const tookMs = performance.now() - beganAtMs;
  await destroySandbox(client, id);
  return tookMs;
}

export const g26: Row = {
  id: 'G26',
  title: 'restore of a local workspace to the end of the first command, `/bin/true`',
  async run(bench) {
    const { client } = await startServer(bench, { home: newHome(bench, 'restore') });
    const restore = async (snapshotId: string) => {
      const path = `/v1/snapshots/${snapshotId}/restore`;
      return (await client.json<{ sandbox_id: string }>('POST', path, {})).sandbox_id;
    };
    const large = await takeSnapshot(client, 3_500_000);
    const small = await takeSnapshot(client, 35_000);
    const firstMs = await timed(async () => destroySandbox(client, await restore(large)));
    const rounds = await runRounds(
      [
        {
          name: FRESH,
          isReference: true,
          run: () => firstCommand(client, () => createSandbox(client, LOCAL)),
        },
        { name: LARGE, run: () => firstCommand(client, () => restore(large)) },
        { name: SMALL, run: () => firstCommand(client, () => restore(small)) },
      ],
      { rounds: bench.rounds, warmUp: 3 },
    );
    const values = rounds.series.find(({ name }) => name === LARGE)!.values.filter((value) => value !== null);
    return resultOf(rounds, {
      judgements: [
        atMost(`${LARGE}, p50`, summarize(values).p50, 'ms', [15, 15]),
        atMost(`${LARGE} against ${SMALL}`, ratioBetween(rounds, LARGE, SMALL), '×', [1.1, 1.1]),
        told(`${LARGE} against ${FRESH}`, ratioBetween(rounds, LARGE, FRESH), '×'),
        told('the first restore of 350 MB, which unpacks it', firstMs, 'ms'),
      ],
      notes: ['the content is unpacked once a boot and shared from then on; each restore is a new sandbox'],
    });
  },
};
