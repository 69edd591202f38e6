/** Commands inside. The suite speaks plain `sh`, `echo`, `cat`, `sleep`, `pwd` and `head -c`. */
import { type CaseRow, ensure, ensureContractError } from './bench.ts';
import { collect, ensureText, run, shell, start } from './run.ts';

const LARGE_BYTES = 1_000_000;

export const EXEC_CASES: readonly CaseRow[] = [
  {
    name: 'exec.exit-code',
    guarantee: 'The exit code of a command arrives unchanged.',
    async check(bench) {
      const made = await bench.running();
      for (const code of [0, 1, 7, 255]) {
        const { exit } = await run(bench, made, shell(`exit ${code}`));
        ensure(
          exit.exitCode === code && exit.signal === null,
          `exit ${code} arrived as ${JSON.stringify(exit)}`,
        );
        ensure(!exit.timedOut && !exit.outputTruncated, 'a short command is reported as cut off');
      }
    },
  },
  {
    name: 'exec.streams-apart',
    guarantee: 'Standard output and standard error arrive apart, each in order.',
    async check(bench) {
      const made = await bench.running();
      const ran = await run(bench, made, shell('echo one; echo two >&2; echo three; echo four >&2'));
      ensureText(ran.stdout, 'one\nthree\n', 'stdout');
      ensureText(ran.stderr, 'two\nfour\n', 'stderr');
    },
  },
  {
    name: 'exec.input',
    guarantee: 'What is written to a command reaches it byte for byte; closing the input ends it.',
    async check(bench) {
      const made = await bench.running();
      const bytes = Buffer.from(Array.from({ length: 1_024 }, (_, index) => index & 255));
      const session = await start(bench, made, ['cat'], { stdin: true });
      const ran = collect(bench, session);
      for (let at = 0; at < bytes.length; at += 100) await session.write(bytes.subarray(at, at + 100));
      session.closeInput();
      const { stdout, exit } = await ran;
      ensure(
        stdout.equals(bytes),
        `cat gave ${stdout.length} bytes back that are not the ${bytes.length} written`,
      );
      ensure(exit.exitCode === 0, `cat ended with ${exit.exitCode}`);
    },
  },
  {
    name: 'exec.no-input',
    guarantee: 'A command without an input reads end-of-file and does not hang.',
    async check(bench) {
      const made = await bench.running();
      ensureText((await run(bench, made, ['cat'])).stdout, '', 'the output of cat without input');
    },
  },
  {
    name: 'exec.environment',
    guarantee: 'Environment values arrive unchanged, quotes, spaces and all.',
    async check(bench) {
      const made = await bench.running();
      const value = `a  b "c" 'd' $e ü ;&|`;
      const ran = await run(bench, made, shell('echo "$SUITE_VALUE"'), {
        environment: { SUITE_VALUE: value },
      });
      ensureText(ran.stdout, `${value}\n`, 'the value');
    },
  },
  {
    name: 'exec.arguments',
    guarantee: 'Arguments arrive as given; no shell looks at them.',
    async check(bench) {
      const made = await bench.running();
      const ran = await run(bench, made, ['echo', 'a  b', '$HOME', ';', '*', "'", '`id`']);
      ensureText(ran.stdout, "a  b $HOME ; * ' `id`\n", 'the output of echo');
    },
  },
  {
    name: 'exec.working-directory',
    guarantee: 'Without a working directory there is an absolute, stable one; with one it is used.',
    async check(bench) {
      const made = await bench.running();
      const usual = (await run(bench, made, ['pwd'])).stdout.toString();
      ensure(usual.startsWith('/'), `pwd says ${JSON.stringify(usual)}`);
      ensureText((await run(bench, made, ['pwd'])).stdout, usual, 'the second pwd');
      ensureText(
        (await run(bench, made, ['pwd'], { workingDirectory: '/tmp' })).stdout,
        '/tmp\n',
        'pwd in /tmp',
      );
    },
  },
  {
    name: 'exec.unknown-command',
    guarantee: 'A command that is not there fails like in a shell, or with an error of the contract.',
    async check(bench) {
      const made = await bench.running();
      const inShell = await run(bench, made, shell('no-such-command-here'));
      ensure(
        inShell.exit.exitCode === 127,
        `a shell without the command ended with ${inShell.exit.exitCode}`,
      );
      const direct = await run(bench, made, ['no-such-command-here']).catch((error: unknown) => {
        ensureContractError(error, 'exec of a missing command');
        return null;
      });
      ensure(direct === null || direct.exit.exitCode !== 0, 'a missing command succeeded');
    },
  },
  {
    name: 'exec.output-limit',
    guarantee: 'Output over the limit is cut and said to be.',
    async check(bench) {
      const made = await bench.running();
      const ran = await run(bench, made, ['head', '-c', '300000', '/dev/zero'], { outputLimitBytes: 1_000 });
      ensure(ran.exit.outputTruncated, 'the cut was not reported');
      ensure(ran.stdout.length === 1_000, `${ran.stdout.length} bytes arrived under a limit of 1000`);
    },
  },
  {
    name: 'exec.large-output',
    guarantee: 'A lot of output arrives whole, though it is read slowly.',
    async check(bench) {
      const made = await bench.running();
      const session = await start(bench, made, ['head', '-c', String(LARGE_BYTES), '/dev/zero']);
      await bench.harness.clock.sleep(100);
      const { stdout, exit } = await collect(bench, session);
      ensure(
        stdout.length === LARGE_BYTES && !exit.outputTruncated,
        `${stdout.length} of ${LARGE_BYTES} bytes arrived`,
      );
    },
  },
  {
    name: 'exec.many-at-once',
    guarantee: 'Many commands at once do not get in each other’s way.',
    async check(bench) {
      const made = await bench.running();
      const work = Array.from({ length: 20 }, async (_, index) => {
        ensureText(
          (await run(bench, made, ['echo', `number ${index}`])).stdout,
          `number ${index}\n`,
          `output ${index}`,
        );
      });
      await Promise.all(work);
    },
  },
  {
    name: 'exec.terminal',
    guarantee: 'With a terminal, everything arrives as one output stream.',
    async check(bench) {
      const made = await bench.running();
      const ran = await run(bench, made, shell('echo out; echo err >&2; exit 3'), {
        terminal: { columns: 80, rows: 24 },
      });
      const text = ran.stdout.toString();
      ensure(text.includes('out') && text.includes('err'), `the terminal showed ${JSON.stringify(text)}`);
      ensure(
        ran.stderr.length === 0 && ran.exit.exitCode === 3,
        `stderr ${ran.stderr.length}, exit ${ran.exit.exitCode}`,
      );
    },
  },
  {
    name: 'exec.fresh-instance',
    guarantee: 'A new instance runs commands by the stored handle, and without one.',
    async check(bench) {
      const made = await bench.running();
      const other = await bench.fresh();
      for (const handle of [made.handle, null]) {
        const ran = await run(bench, { ...made, handle }, ['echo', 'hello'], {}, other);
        ensureText(ran.stdout, 'hello\n', `the output ${handle === null ? 'without' : 'with'} a handle`);
      }
    },
  },
];
