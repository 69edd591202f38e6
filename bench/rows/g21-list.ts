/** G21: a page of the list in a large store. */
import { join } from 'node:path';
import type { SQLInputValue, SQLOutputValue } from 'node:sqlite';
import { listStatement } from '../../src/adapters/store-sqlite/rows.ts';
import { openSqliteStore } from '../../src/adapters/store-sqlite/store.ts';
import type { SandboxQuery, SandboxRecord } from '../../src/ports/store.ts';
import type { SocketClient } from '../kit/http.ts';
import { openStore, populate } from '../kit/population.ts';
import { type Rounds, ratioBetween, runRounds } from '../kit/rounds.ts';
import { atMost, type Bench, type Judgement, type Row, resultOf, told } from '../kit/row.ts';
import { timed } from '../kit/sandboxes.ts';
import { newHome, scratchDirectory, startServer, startTelling } from '../kit/server-process.ts';

const RAW_SERVER = join(import.meta.dirname, '..', 'raw-list-server.ts');
const PAGE = 50;
const SMALL = 1_000;
/** So that a page of one project is full in the small store too. */
const PROJECTS = SMALL / PAGE;
/** One in so many is not ready but destroyed. */
const DESTROYED_EVERY = 10;

interface Filter {
  readonly name: string;
  readonly query: string;
  readonly store: Partial<SandboxQuery>;
  /** The small store has fewer than a page of them, so that its page says nothing about a full one. */
  readonly isRareInSmall?: boolean;
}

const FILTERS: readonly Filter[] = [
  { name: 'everything', query: '', store: {} },
  { name: 'one project of 20', query: '&project=project-7', store: { project: 'project-7' } },
  { name: 'destroyed, one in 10', query: '&state=destroyed', store: { states: ['destroyed'] } },
  {
    name: 'destroyed of one project',
    query: '&project=project-7&state=destroyed',
    store: { project: 'project-7', states: ['destroyed'] },
    isRareInSmall: true,
  },
];

function vary(index: number): Partial<SandboxRecord> {
  const consumer = { actor: 'adm' as const, project: `project-${index % PROJECTS}`, run_id: null };
  const isDestroyed = Math.floor(index / PROJECTS) % DESTROYED_EVERY === 0;
  return isDestroyed ? { consumer, state: 'destroyed', dueAtMs: null } : { consumer };
}

async function page(client: SocketClient, path: string, expected: number): Promise<void> {
  const { items } = await client.json<{ items: unknown[] }>('GET', path);
  if (items.length < expected) throw new Error(`${items.length} items`);
}

const pathOf = (filter: Filter) => `/v1/sandboxes?limit=${PAGE}${filter.query}`;

/** With one row more, which says whether there is another page. */
const statementOf = (filter: Filter) =>
  listStatement({ project: null, cursor: null, limit: PAGE, ...filter.store });

/** The raw SQL behind a bare server of node in its own process, reached as ours is. */
async function startRaw(bench: Bench, home: string): Promise<SocketClient> {
  const socket = join(scratchDirectory(bench, 'raw'), 'socket');
  const queries = JSON.stringify(FILTERS.map(statementOf));
  const words = [process.execPath, RAW_SERVER, join(home, 'store.sqlite'), socket, queries];
  return (await startTelling(bench, words)).client;
}

function names(filter: Filter) {
  return {
    store: `the store's own list, ${filter.name}`,
    ours: `list, ${filter.name}`,
    small: `list, ${filter.name}, ${SMALL} rows`,
    raw: `raw SQL, ${filter.name}`,
    hop: `raw SQL behind a bare hop, ${filter.name}`,
    parsed: `raw SQL and its rows parsed, ${filter.name}`,
  };
}

function judge(rounds: Rounds, filter: Filter): Judgement[] {
  return [
    atMost(
      `${names(filter).ours}: against raw SQL behind a bare hop`,
      ratioBetween(rounds, names(filter).ours, names(filter).hop),
      '×',
      [3, 3],
    ),
    told(
      `${names(filter).ours}: against raw SQL`,
      ratioBetween(rounds, names(filter).ours, names(filter).raw),
      '×',
    ),
    told(
      `${names(filter).store}: against raw SQL`,
      ratioBetween(rounds, names(filter).store, names(filter).raw),
      '×',
    ),
    told(
      `${names(filter).store}: against raw SQL and its rows parsed`,
      ratioBetween(rounds, names(filter).store, names(filter).parsed),
      '×',
    ),
    againstSmall(rounds, filter),
  ];
}

function againstSmall(rounds: Rounds, filter: Filter): Judgement {
  const name = `${names(filter).ours}: against itself at ${SMALL} rows`;
  const ratio = ratioBetween(rounds, names(filter).ours, names(filter).small);
  return filter.isRareInSmall
    ? told(`${name}, which fill no page`, ratio, '×')
    : atMost(name, ratio, '×', [2, 2]);
}

export const g21: Row = {
  id: 'G21',
  title: 'a page of 50 in a large store',
  async run(bench: Bench) {
    const count = bench.number('SANDBOXER_BENCH_LIST_ROWS', 1_000_000, 200_000);
    const [largeHome, smallHome] = [newHome(bench, 'list'), newHome(bench, 'list-small')];
    await populate(bench, largeHome, { count, vary });
    await populate(bench, smallHome, { count: SMALL, vary });
    const large = await startServer(bench, { home: largeHome, isStub: true });
    const small = await startServer(bench, { home: smallHome, isStub: true });
    const bare = await startRaw(bench, largeHome);
    const database = openStore(largeHome);
    bench.atEnd(() => database.close());
    const raw = (filter: Filter): (() => Promise<Record<string, SQLOutputValue>[]>) => {
      const { sql, parameters } = statementOf(filter);
      const statement = database.prepare(sql);
      return async () => statement.all(...(parameters as SQLInputValue[]));
    };
    const store = openSqliteStore(largeHome);
    bench.atEnd(() => store.close());
    const byStore = (filter: Filter) =>
      store.listSandboxes({ project: null, cursor: null, limit: PAGE, ...filter.store });
    const rounds = await runRounds(
      FILTERS.flatMap((filter, index) => [
        { name: names(filter).ours, run: () => timed(() => page(large.client, pathOf(filter), PAGE)) },
        { name: names(filter).hop, run: () => timed(() => page(bare, `/${index}`, PAGE)) },
        {
          name: names(filter).small,
          isReference: filter.query === '',
          run: () => timed(() => page(small.client, pathOf(filter), 1)),
        },
        { name: names(filter).raw, run: () => timed(raw(filter)) },
        {
          name: names(filter).parsed,
          run: () =>
            timed(async () => (await raw(filter)()).map(({ document }) => JSON.parse(String(document)))),
        },
        { name: names(filter).store, run: () => timed(() => byStore(filter)) },
      ]),
      { rounds: bench.rounds, warmUp: 5 },
    );
    return resultOf(rounds, {
      judgements: FILTERS.flatMap((filter) => judge(rounds, filter)),
      notes: [
        `${count} rows, ${PROJECTS} projects; ours is through HTTP and with the full view; raw SQL is the statement alone, nothing parsed`,
        'behind a bare hop: the same statement in a process of node alone, which answers the stored documents to the same client',
        'the store parses a page once and looks for its records by version after that, so its figure is of a page that was read before',
      ],
    });
  },
};
