/** A list shows everything that is ours, once, or says that it may not. */
import { parseBackendName } from '../domain/ids.ts';
import { type Bench, type CaseRow, ensure, ensureContractError, type Made, NO_ABORT } from './bench.ts';

const LIST_COUNT = 3;
const TIMES = 10;

export const LIST_CASES: readonly CaseRow[] = [
  {
    name: 'list.shows-ours-once',
    guarantee: 'A list that calls itself complete holds each of our things exactly once, over all pages.',
    async check(bench) {
      const made = await makeSeveral(bench);
      await bench.until(bench.harness.timings.readyWithinMs, 'a complete list', async () => {
        const pages = await bench.pages();
        if (!pages.every((page) => page.complete)) return 'a list that says it is not complete';
        const names = pages.flatMap((page) => page.items.map((item) => item.name));
        for (const { name } of made) {
          const count = names.filter((one) => one === name).length;
          ensure(count === 1, `${name} stands ${count} times in a list that calls itself complete`);
        }
        return null;
      });
    },
  },
  {
    name: 'list.items-are-usable',
    guarantee: 'A listed thing carries its tags, a sane age, and a handle that destroys it, or none.',
    async check(bench) {
      const tags = { 'sandboxer-suite': 'conformance', 'sandboxer-mark': 'listed' };
      const made = await bench.running({ tags });
      const item = (await bench.listed()).find((one) => one.name === made.name);
      ensure(item !== undefined, `${made.name} runs, but is not listed`);
      for (const [key, value] of Object.entries(tags))
        ensure(item.tags[key] === value, `tag ${key} is ${item.tags[key]}`);
      ensure(item.ageMs === null || item.ageMs >= 0, `its age is ${item.ageMs} ms`);
      const reference = { name: item.name, epoch: 1, handle: item.handle };
      await bench.destroy(reference);
      await bench.untilAbsent(reference);
    },
  },
  {
    name: 'list.ours-only',
    guarantee: 'A list holds names of our name space and nothing else.',
    check: ensureOursOnly,
  },
  {
    name: 'list.ten-times',
    guarantee: 'Listing again shows the same things and changes none.',
    async check(bench) {
      const made = await bench.running();
      for (let time = 0; time < TIMES; time += 1) {
        const found = (await bench.listed()).some((item) => item.name === made.name);
        ensure(found, `${made.name} is missing at list ${time + 1}`);
      }
    },
  },
  {
    name: 'list.forgets-the-destroyed',
    guarantee: 'What was destroyed leaves the list within the bound.',
    async check(bench) {
      const made = await bench.running();
      await bench.destroy(made);
      await bench.untilAbsent(made);
      await bench.until(bench.harness.timings.goneWithinMs, 'the list to forget it', async () => {
        const found = (await bench.listed()).some((item) => item.name === made.name);
        return found ? `${made.name} is still listed` : null;
      });
    },
  },
  {
    name: 'list.foreign-cursor',
    guarantee: 'A cursor of somebody else is refused or starts anew; it never hangs and never crashes.',
    async check(bench) {
      const answer = bench.extension.list('not-a-cursor-of-yours', NO_ABORT);
      await bench.within(answer, 'list with a foreign cursor').catch((error: unknown) => {
        ensureContractError(error, 'list with a foreign cursor');
      });
    },
  },
];

export async function ensureOursOnly(bench: Bench): Promise<void> {
  await bench.running();
  for (const item of await bench.listed()) {
    ensure(
      parseBackendName(item.name) !== null,
      `the list holds ${item.name}, which is not in our name space`,
    );
  }
}

async function makeSeveral(bench: Bench): Promise<Made[]> {
  const made: Made[] = [];
  for (let count = 0; count < (bench.harness.listCount ?? LIST_COUNT); count += 1)
    made.push(await bench.provision());
  for (const one of made) await bench.untilRunning(one);
  return made;
}
