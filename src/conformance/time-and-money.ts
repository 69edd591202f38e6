/** The dead-man's deadline, which fires without us, and the meter. */
import { type CaseRow, describe, ensure, NO_ABORT } from './bench.ts';

const MINUTE_MS = 60_000;
/** The backend's clock and ours may differ by this much. */
const SKEW_MS = 1_000;
/** By this part of the own deadline a thing must still be there. */
const EARLY_PART = 0.6;

export const DEADLINE_CASES: readonly CaseRow[] = [
  {
    name: 'deadline.fires-without-us',
    guarantee: 'The backend ends a thing at its own deadline, though the broker is gone; not before.',
    async check(bench) {
      const { clock, timings } = bench.harness;
      const startMs = clock.monotonicMs();
      const made = await bench.running({ ownDeadlineMs: bench.shortDeadlineMs });
      await bench.extension.close();
      const other = await bench.fresh();
      const sinceMs = () => clock.monotonicMs() - startMs;
      const earlyMs = bench.shortDeadlineMs * EARLY_PART;
      if (sinceMs() < earlyMs) {
        await clock.sleep(earlyMs - sinceMs());
        const early = await bench.observe(made, other);
        ensure(early.kind === 'present', `well before its own deadline it is ${describe(early)}`);
      }
      await clock.sleep(Math.max(0, bench.shortDeadlineMs - sinceMs()));
      await bench.until(timings.goneWithinMs + SKEW_MS, 'the own deadline to fire', async () => {
        const seen = await bench.observe(made, other);
        const over = seen.kind === 'absent' || (seen.kind === 'present' && seen.state === 'dead');
        return over ? null : describe(seen);
      });
    },
  },
  {
    name: 'deadline.can-be-moved',
    guarantee:
      'setOwnDeadline keeps a thing alive past its first deadline, and grants no more than was asked.',
    async check(bench) {
      const { clock } = bench.harness;
      const startMs = clock.monotonicMs();
      const made = await bench.running({ ownDeadlineMs: bench.shortDeadlineMs });
      for (let time = 0; time < 10; time += 1) {
        const granted = await bench.within(
          bench.extension.setOwnDeadline!(made, MINUTE_MS, NO_ABORT),
          'setOwnDeadline',
        );
        ensure(
          granted > 0 && granted <= MINUTE_MS + SKEW_MS,
          `asked for ${MINUTE_MS} ms, granted ${granted} ms`,
        );
      }
      await clock.sleep(Math.max(0, bench.shortDeadlineMs + SKEW_MS / 2 - (clock.monotonicMs() - startMs)));
      const seen = await bench.observe(made);
      ensure(
        seen.kind === 'present' && seen.state === 'running',
        `after its first deadline: ${describe(seen)}`,
      );
    },
  },
  {
    name: 'deadline.cap-holds',
    guarantee: 'No extension of the own deadline passes the cap given at the start.',
    async check(bench) {
      const made = await bench.running({ ownDeadlineMs: MINUTE_MS / 2, ownDeadlineCapMs: MINUTE_MS });
      const granted = await bench.within(
        bench.extension.setOwnDeadline!(made, 60 * MINUTE_MS, NO_ABORT),
        'setOwnDeadline',
      );
      ensure(granted <= MINUTE_MS + SKEW_MS, `the cap is ${MINUTE_MS} ms, granted were ${granted} ms`);
    },
  },
  {
    name: 'deadline.cap-fires',
    guarantee: 'A thing does not outlive the cap, whatever it was promised later.',
    async check(bench) {
      const { clock, timings } = bench.harness;
      const startMs = clock.monotonicMs();
      const capMs = bench.shortDeadlineMs;
      const made = await bench.running({ ownDeadlineMs: capMs, ownDeadlineCapMs: capMs });
      await bench.extension.setOwnDeadline!(made, MINUTE_MS, NO_ABORT);
      await clock.sleep(Math.max(0, capMs - (clock.monotonicMs() - startMs)));
      await bench.until(timings.goneWithinMs + SKEW_MS, 'the cap to fire', async () => {
        const seen = await bench.observe(made);
        return seen.kind === 'absent' || (seen.kind === 'present' && seen.state === 'dead')
          ? null
          : describe(seen);
      });
    },
  },
  {
    name: 'deadline.of-the-gone',
    guarantee: 'Moving the deadline of what is gone fails; it brings nothing back.',
    async check(bench) {
      const made = await bench.running();
      await bench.destroy(made);
      await bench.untilAbsent(made);
      await bench.fails(
        () => bench.extension.setOwnDeadline!(made, MINUTE_MS, NO_ABORT),
        'setOwnDeadline of the gone',
      );
      await bench.untilAbsent(made);
    },
  },
];

export const METER_CASES: readonly CaseRow[] = [
  {
    name: 'meter.grows-and-stops',
    guarantee: 'Usage is not negative and never shrinks; after the end it stands still.',
    async check(bench) {
      const { clock } = bench.harness;
      const made = await bench.running();
      const look = async () => {
        const usage = await bench.within(bench.extension.meter!(made, NO_ABORT), 'meter');
        ensure(
          usage.seconds >= 0 && usage.costMicroUsd >= 0,
          `usage is ${usage.seconds} s, ${usage.costMicroUsd} µUSD`,
        );
        ensure(
          Number.isSafeInteger(usage.costMicroUsd),
          `${usage.costMicroUsd} is no whole number of micro-dollars`,
        );
        return usage;
      };
      const first = await look();
      await clock.sleep(100);
      const second = await look();
      ensure(second.seconds >= first.seconds && second.costMicroUsd >= first.costMicroUsd, 'usage shrank');
      await bench.destroy(made);
      await bench.untilAbsent(made);
      const final = await look();
      await clock.sleep(300);
      ensure((await look()).seconds === final.seconds, 'usage grows after the end');
    },
  },
];
