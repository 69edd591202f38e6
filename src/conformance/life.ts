/** Made, seen, removed: each verb can be repeated, and what is not there is proven not to be there. */
import { backendName, parseBackendName } from '../domain/ids.ts';
import type { Handle, Reference } from '../ports/extension.ts';
import { type Bench, type CaseRow, describe, ensure, ensureContractError, NO_ABORT } from './bench.ts';

const TIMES = 10;
const PROMPT_MS = 2_000;
const SETTLE_MS = 1_000;

const withoutHandle = (reference: Reference): Reference => ({ ...reference, handle: null });

export const LIFE_CASES: readonly CaseRow[] = [
  {
    name: 'life.make-see-remove',
    guarantee: 'What is provisioned runs within the bound; what is destroyed is absent within the bound.',
    async check(bench) {
      const made = await bench.running();
      await bench.ensureTruth(made.name, true, 'observe said running');
      const seen = await bench.observe(made);
      if (seen.kind === 'present' && seen.activity !== null) {
        const { commandsRunning, idleMs } = seen.activity;
        ensure(
          commandsRunning === 0 && idleMs >= 0,
          `a new thing reports ${commandsRunning} commands, idle ${idleMs} ms`,
        );
      }
      await bench.destroy(made);
      await bench.untilAbsent(made);
    },
  },
  {
    name: 'life.provision-ten-times',
    guarantee:
      'Provisioning one name and epoch again adopts what is there: ever one thing, and one destroy removes it.',
    async check(bench) {
      const first = await bench.running();
      for (let time = 1; time < TIMES; time += 1) {
        const again = await bench.provision({ name: first.name });
        const seen = await bench.observe(again);
        ensure(seen.kind === 'present', `after provisioning again: ${describe(seen)}`);
      }
      const twins = (await bench.listed()).filter((item) => item.name === first.name);
      ensure(
        twins.length === 1,
        `${twins.length} things are called ${first.name} after provisioning it ten times`,
      );
      await bench.destroy(first);
      await bench.untilAbsent(first);
    },
  },
  {
    name: 'life.other-epoch',
    guarantee: 'Another epoch is another thing: distinct or a conflict, never taken for the first.',
    check: checkOtherEpoch,
  },
  {
    name: 'life.observe-unknown-ten-times',
    guarantee: 'A name that was never used is absent, with a proof.',
    async check(bench) {
      const reference = { name: bench.harness.newName(), epoch: 1, handle: null };
      for (let time = 0; time < TIMES; time += 1) await bench.untilAbsent(reference);
    },
  },
  {
    name: 'life.destroy-unknown-ten-times',
    guarantee: 'Destroying what was never there is success.',
    async check(bench) {
      const reference = { name: bench.harness.newName(), epoch: 1, handle: null };
      for (let time = 0; time < TIMES; time += 1) await bench.destroy(reference);
    },
  },
  {
    name: 'life.destroy-ten-times',
    guarantee: 'Destroying again what is going or gone is success, with the handle and without.',
    async check(bench) {
      const made = await bench.running();
      for (let time = 0; time < TIMES; time += 1)
        await bench.destroy(time % 2 === 0 ? made : withoutHandle(made));
      await bench.untilAbsent(made);
      await bench.destroy(made);
    },
  },
  {
    name: 'life.read-ten-times',
    guarantee: 'Looking changes nothing.',
    async check(bench) {
      const made = await bench.running();
      const { extension, harness } = bench;
      for (let time = 0; time < TIMES; time += 1) {
        const seen = await bench.observe(made);
        ensure(seen.kind === 'present' && seen.state === 'running', `at look ${time + 1}: ${describe(seen)}`);
        await bench.within(extension.health(NO_ABORT), 'health');
        await extension.validate(harness.spec());
        await extension.estimate(harness.spec(), 1_000);
        await extension.reachability(made);
        await extension.capabilities();
      }
    },
  },
  {
    name: 'life.destroy-spares-others',
    guarantee: 'Destroying one thing leaves every other alone.',
    async check(bench) {
      const kept = await bench.running();
      const removed = await bench.running();
      await bench.destroy(removed);
      await bench.untilAbsent(removed);
      const seen = await bench.observe(kept);
      ensure(seen.kind === 'present' && seen.state === 'running', `the other thing is ${describe(seen)}`);
    },
  },
  {
    name: 'life.destroy-while-starting',
    guarantee: 'What is destroyed before it ran is gone, and does not come up afterwards.',
    async check(bench) {
      const made = await bench.provision();
      await bench.destroy(made);
      await bench.untilAbsent(made);
      await bench.harness.clock.sleep(Math.min(bench.harness.timings.readyWithinMs, SETTLE_MS));
      await bench.untilAbsent(made);
    },
  },
  {
    name: 'life.many-at-once',
    guarantee: 'Things that are made and removed at the same time do not get in each other’s way.',
    async check(bench) {
      const made = await Promise.all(Array.from({ length: TIMES }, () => bench.running()));
      const names = new Set((await bench.listed()).map((item) => item.name));
      for (const { name } of made) ensure(names.has(name), `${name} runs, but is not listed`);
      await Promise.all(made.map((one) => bench.destroy(one)));
      await Promise.all(made.map((one) => bench.untilAbsent(one)));
    },
  },
  {
    name: 'life.reachability',
    guarantee: 'How to get in is told in plain values, and asking changes nothing.',
    async check(bench) {
      const made = await bench.running();
      const first = await bench.within(bench.extension.reachability(made), 'reachability');
      const again = await bench.within((await bench.fresh()).reachability(made), 'reachability');
      ensure(JSON.stringify(first) === JSON.stringify(again), 'two instances tell different ways to get in');
      for (const port of first.ports)
        ensure(Number.isInteger(port) && port > 0 && port < 65_536, `port ${port}`);
      if (bench.harness.optional.sessions)
        ensure(first.exec, 'it has sessions, but says that nothing can be run');
    },
  },
  {
    name: 'life.handle-is-plain',
    guarantee: 'A handle survives being stored as JSON.',
    async check(bench) {
      const made = await bench.running();
      ensurePlain(made.handle);
      const seen = await bench.observe(made);
      ensure(seen.kind === 'present', describe(seen));
      ensurePlain(seen.handle);
    },
  },
  {
    name: 'life.fresh-instance',
    guarantee:
      'An extension keeps nothing in its memory: a new instance sees and removes what another one made.',
    async check(bench) {
      for (const keepHandle of [true, false]) {
        const made = await bench.running();
        const stored = JSON.parse(JSON.stringify(keepHandle ? made : withoutHandle(made))) as Reference;
        const other = await bench.fresh();
        await bench.untilRunning(stored, other);
        await bench.destroy(stored, other);
        await bench.untilAbsent(stored, other);
        await bench.untilAbsent(made);
      }
    },
  },
  {
    name: 'life.aborted',
    guarantee:
      'A call that was given up ends promptly, claims nothing, and leaves nothing that observe cannot see.',
    check: checkAborted,
  },
];

async function checkOtherEpoch(bench: Bench): Promise<void> {
  const first = await bench.running();
  const identity = parseBackendName(first.name);
  ensure(
    identity !== null && identity.epoch === 1,
    `the harness gave the name ${first.name}, which is not ours`,
  );
  const second = await bench.running({ name: backendName(identity.sandboxId, 2), epoch: 2 });
  await bench.destroy(second);
  await bench.untilAbsent(second);
  const seen = await bench.observe(first);
  ensure(seen.kind === 'present', `destroying epoch 2 took epoch 1 along: ${describe(seen)}`);
  const answer = await bench.extension.provision(bench.request(first.name, { epoch: 2 })).then(
    (handle) => ({ handle }),
    (error: unknown) => ({ error }),
  );
  if ('error' in answer) {
    ensureContractError(answer.error, 'provision of a taken name in another epoch');
    ensure(
      answer.error.kind === 'conflict',
      `a taken name in another epoch gave ${answer.error.kind}, not conflict`,
    );
    return;
  }
  ensure(
    JSON.stringify(answer.handle) !== JSON.stringify(first.handle),
    'epoch 2 was given the handle of epoch 1',
  );
}

function ensurePlain(handle: Handle): void {
  ensure(Number.isInteger(handle.version), 'the version of a handle is a whole number');
  const back = JSON.parse(JSON.stringify(handle)) as Handle;
  for (const [key, value] of Object.entries(handle.data)) {
    ensure(
      value === null || ['string', 'number', 'boolean'].includes(typeof value),
      `handle.data.${key} is not plain`,
    );
    ensure(Object.is(back.data[key], value), `handle.data.${key} does not survive JSON`);
  }
}

async function checkAborted(bench: Bench): Promise<void> {
  const { extension } = bench;
  const aborted = AbortSignal.abort();
  const made = await bench.running();
  const early = bench.request(bench.harness.newName(), { signal: aborted });
  const prompt = <T>(work: Promise<T>, what: string) => bench.within(work, what, PROMPT_MS);
  await bench.fails(() => prompt(extension.provision(early), 'an aborted provision'), 'an aborted provision');
  await bench.fails(() => prompt(extension.list(null, aborted), 'an aborted list'), 'an aborted list');
  await bench.fails(
    () => prompt(extension.destroy(made, aborted), 'an aborted destroy'),
    'an aborted destroy',
  );
  const looked = await prompt(extension.observe(made, aborted), 'an aborted observe').catch(
    (error: unknown) => {
      ensureContractError(error, 'an aborted observe');
      return null;
    },
  );
  ensure(looked === null || looked.kind === 'unknown', `an aborted observe said ${looked?.kind}`);

  const controller = new AbortController();
  const midway = bench.request(bench.harness.newName(), { signal: controller.signal });
  const answer = extension.provision(midway).catch((error: unknown) => {
    ensureContractError(error, 'a provision that was given up');
  });
  controller.abort();
  await prompt(answer, 'a provision that was given up');
  for (const { name, epoch } of [early, midway])
    await ensureVisibleOrGone(bench, { name, epoch, handle: null });
}

async function ensureVisibleOrGone(bench: Bench, reference: Reference): Promise<void> {
  const { truth, timings } = bench.harness;
  await bench.until(timings.readyWithinMs, 'observe to tell what the given-up provision did', async () => {
    const seen = await bench.observe(reference);
    if (seen.kind === 'unknown') return describe(seen);
    const real = (await truth?.exists(reference.name)) ?? seen.kind === 'present';
    return real === (seen.kind === 'present') ? null : `${describe(seen)}, but the backend says otherwise`;
  });
  await bench.destroy(reference);
  await bench.untilAbsent(reference);
}
