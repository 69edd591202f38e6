/** What an extension must do when its backend misbehaves. A case is there when the harness can bring the trouble. */
import { type Bench, type CaseRow, describe, ensure, ensureContractError, NO_ABORT } from './bench.ts';
import type { ConformanceFaults } from './harness.ts';
import { ensureOursOnly } from './list.ts';

type Trouble = keyof ConformanceFaults;

export const TROUBLE_CASES: readonly (CaseRow & { readonly needs: Trouble })[] = [
  {
    name: 'trouble.lost-answer',
    needs: 'loseNextProvisionAnswer',
    guarantee: 'A lost answer is ambiguous; observe finds the thing by name alone, and destroy removes it.',
    async check(bench) {
      await bench.harness.faults?.loseNextProvisionAnswer?.();
      const request = bench.request(bench.harness.newName());
      const reference = { name: request.name, epoch: 1, handle: null };
      await bench.fails(() => bench.extension.provision(request), 'a provision without an answer', [
        'ambiguous',
      ]);
      await bench.untilRunning(reference);
      await bench.destroy(reference);
      await bench.untilAbsent(reference);
    },
  },
  {
    name: 'trouble.lost-answer-repeated',
    needs: 'loseNextProvisionAnswer',
    guarantee: 'Provisioning again after a lost answer adopts what the first call made.',
    async check(bench) {
      await bench.harness.faults?.loseNextProvisionAnswer?.();
      const request = bench.request(bench.harness.newName());
      await bench.fails(() => bench.extension.provision(request), 'a provision without an answer', [
        'ambiguous',
      ]);
      const made = await bench.running({ name: request.name });
      const twins = (await bench.listed()).filter((item) => item.name === made.name);
      ensure(twins.length === 1, `${twins.length} things are called ${made.name}`);
      await bench.destroy(made);
      await bench.untilAbsent(made);
    },
  },
  {
    name: 'trouble.failed-observe-is-unknown',
    needs: 'failNextObserve',
    guarantee: 'A look that failed proves nothing: it is unknown or an error, never absent.',
    async check(bench) {
      const made = await bench.running();
      await bench.harness.faults?.failNextObserve?.();
      const seen = await bench
        .within(bench.extension.observe(made, NO_ABORT), 'observe')
        .catch((error: unknown) => {
          ensureContractError(error, 'a failed observe');
          return null;
        });
      ensure(
        seen === null || seen.kind === 'unknown',
        `a failed observe said ${seen === null ? '' : describe(seen)}`,
      );
      await bench.untilRunning(made);
    },
  },
  {
    name: 'trouble.failed-list-is-no-empty-list',
    needs: 'failNextList',
    guarantee: 'A list that failed is an error or incomplete, never empty and complete.',
    async check(bench) {
      await bench.running();
      await bench.harness.faults?.failNextList?.();
      await ensureNotComplete(bench);
    },
  },
  {
    name: 'trouble.short-list-is-incomplete',
    needs: 'shortenNextList',
    guarantee: 'A list that misses something noticeable does not call itself complete.',
    async check(bench) {
      await bench.running();
      await bench.harness.faults?.shortenNextList?.();
      await ensureNotComplete(bench);
    },
  },
  {
    name: 'trouble.foreign-things',
    needs: 'showForeignThings',
    guarantee: 'Things of other people in the same account are not listed as ours.',
    async check(bench) {
      await bench.running();
      await bench.harness.faults?.showForeignThings?.();
      await ensureOursOnly(bench);
    },
  },
];

async function ensureNotComplete(bench: Bench): Promise<void> {
  const pages = await bench.pages().catch((error: unknown) => {
    ensureContractError(error, 'a failed list');
    return null;
  });
  ensure(pages === null || pages.some((page) => !page.complete), 'a list that failed called itself complete');
}
