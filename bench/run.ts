/** `npm run bench [-- G1 G2 …] [--quick]`: every row, or those named, one after the other. */
import { createServer } from 'node:net';
import { loadavg } from 'node:os';
import { conditions, isVoid, print, save } from './kit/report.ts';
import type { Bench, Row } from './kit/row.ts';
import { ROWS } from './rows/index.ts';

interface Undoing {
  readonly bench: Bench;
  undo(): Promise<void>;
}

function numberFrom(name: string, otherwise: number): number {
  const text = process.env[name];
  if (text === undefined || text === '') return otherwise;
  const value = Number(text);
  if (!(value > 0)) throw new Error(`${name} must be a number above 0`);
  return value;
}

function makeBench(isQuick: boolean): Undoing {
  const undos: (() => void | Promise<void>)[] = [];
  const number = (name: string, usual: number, quick: number) => numberFrom(name, isQuick ? quick : usual);
  return {
    bench: {
      isQuick,
      rounds: number('SANDBOXER_BENCH_ROUNDS', 60, 8),
      heavyRounds: number('SANDBOXER_BENCH_HEAVY_ROUNDS', 40, 3),
      number,
      atEnd: (undo) => undos.push(undo),
    },
    async undo() {
      for (const undo of undos.splice(0).reverse()) {
        await Promise.resolve()
          .then(undo)
          .catch((error: unknown) => console.error(`clearing up: ${String(error)}`));
      }
    },
  };
}

let undoCurrent: () => Promise<void> = async () => undefined;

/** Two runs at once spoil each other's numbers. The name ends with the process, however that ends. */
function becomeTheOnlyRun(): Promise<void> {
  return new Promise((resolve) => {
    const claim = createServer();
    claim.once('error', () => {
      console.error('Another run of the benchmarks is under way on this machine.');
      process.exit(2);
    });
    claim.listen('\0sandboxer-bench', resolve).unref();
  });
}

/** What was started is stopped, also when the run is. */
function clearUpOnSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      undoCurrent().finally(() => process.exit(130));
    });
  }
}

/** False when the row failed or says nothing. */
async function runRow(row: Row, isQuick: boolean): Promise<boolean> {
  const loadBefore = loadavg();
  const { bench, undo } = makeBench(isQuick);
  undoCurrent = undo;
  try {
    const result = await row.run(bench);
    const seen = conditions(isQuick, loadBefore);
    print(row, result, seen);
    save(row, result, seen);
    return !isVoid(result);
  } catch (error) {
    console.log(
      `\n${row.id}  ${row.title}\n  FAILED: ${error instanceof Error ? error.stack : String(error)}`,
    );
    return false;
  } finally {
    await undo();
  }
}

const words = process.argv.slice(2);
const isQuick = words.includes('--quick');
const wanted = words.filter((word) => !word.startsWith('--'));
const unknown = wanted.filter((word) => !ROWS.some(({ id }) => id === word));
if (unknown.length > 0) {
  console.error(`There is no row ${unknown.join(', ')}; there are ${ROWS.map(({ id }) => id).join(', ')}.`);
  process.exit(2);
}
await becomeTheOnlyRun();
clearUpOnSignals();
let good = true;
for (const row of ROWS) {
  if (wanted.length > 0 && !wanted.includes(row.id)) continue;
  good = (await runRow(row, isQuick)) && good;
}
process.exit(good ? 0 : 1);
