import { spawn } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { SandboxView } from '../../../src/operations/view.ts';
import { Bench, ROOT, Running } from './harness.ts';
import { plain, SANDBOX_ID } from './patterns.ts';

const bench = new Bench();
const slow = bench.simulated('slow', '{startMs: 1500}');
const failing = bench.simulated('failing', '{faults: [{verb: provision, kind: forbidden}]}');
const TELEMETRY = /^Telemetry: load Δ [+-]\d+\.\d\d, mem avail Δ [+-]\d+ MB, stale candidates: \d+$/m;
afterAll(() => bench.clear());

async function stateOf(id: string): Promise<string> {
  return (JSON.parse((await bench.run(['get', id])).stdout) as SandboxView).state;
}

describe('create', () => {
  test('without arguments is the canary: JSON out, the telemetry line, exit code 0', async () => {
    const { code, stdout, stderr } = await bench.run(['create']);
    const view = JSON.parse(stdout) as SandboxView;
    expect(code).toBe(0);
    expect(view).toMatchObject({ state: 'ready', profile_id: 'profile.sandbox-canary' });
    expect(view.telemetry).toMatchObject({ schema_version: '0.1', sandbox_id: view.sandbox_id });
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stderr).toMatch(TELEMETRY);
  });

  test('--quiet leaves standard error empty', async () => {
    const { code, stdout, stderr } = await bench.run(['create', '--quiet']);
    expect([code, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout)).toMatchObject({ state: 'ready' });
  });

  test('works through the launcher, from any directory, through a link', async () => {
    const link = join(bench.directory, 'sandboxer');
    symlinkSync(join(ROOT, 'sandboxer'), link);
    const child = spawn(link, ['version'], { env: bench.environment(), cwd: '/' });
    const { code, stdout } = await new Running(child).ended;
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ node: process.version });
  });

  test('takes a relative repo from where it was typed', async () => {
    mkdirSync(join(bench.directory, 'project'));
    writeFileSync(join(bench.directory, 'project', 'hello.txt'), 'hello');
    const id = await bench.create('--profile', 'profile.local', '--input', 'repo=project');
    expect((await bench.run(['exec', id, '--', 'cat', 'hello.txt'])).stdout).toBe('hello');
  });

  test('a failure says why, what was cleaned up and what to look at', async () => {
    const { code, stdout, stderr } = await bench.run(['create', '--profile', failing]);
    expect([code, stdout]).toEqual([8, '']);
    expect(stderr).toMatch(/^✗ .*does not permit provision/);
    expect(stderr).toMatch(/\n {2}cleaned up: Everything it had/);
    expect(stderr).toMatch(/\n {2}next: See what happened with: sandboxer events [0-9a-z]{10}/);
  });

  test('--no-wait answers at once, and without a server finishes the work before it ends', async () => {
    const running = bench.start(['create', '--profile', slow, '--no-wait']);
    const [, id] = await running.printed(SANDBOX_ID);
    const { code, stdout, stderr } = await running.ended;
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ state: 'provisioning' });
    expect(stderr).toContain('this process finishes the work');
    expect(await stateOf(id!)).toBe('ready');
  });
});

describe('on a terminal', () => {
  test('shows the step under way and the time, then a card and the telemetry line', async () => {
    const { code, stdout } = await bench.inTerminal(['create']).ended;
    expect(code).toBe(0);
    const text = plain(stdout).replaceAll('\r', '\n');
    expect(text).toMatch(/[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] \S.* \d+\.\ds/);
    expect(text).toMatch(/● ready {2}[0-9a-z]{10} {2}profile\.sandbox-canary on ext\.local/);
    expect(text).toMatch(/enter +sandboxer shell [0-9a-z]{10}/);
    expect(text).toMatch(TELEMETRY);
    expect(stdout.lastIndexOf('\u001b[?25h')).toBeGreaterThan(stdout.lastIndexOf('\u001b[?25l'));
  });

  test('Ctrl-C removes what was begun, and says so', async () => {
    const running = bench.inTerminal(['create', '--profile', slow]);
    await running.printed(/provisioning|waiting until it answers/);
    running.type('\u0003');
    const { code, stdout } = await running.ended;
    expect(code).toBe(130);
    const id = /Cancelled; the sandbox ([0-9a-z]{10}) was removed/.exec(plain(stdout))?.[1];
    expect(await stateOf(id!)).toBe('destroyed');
  });

  test('a second Ctrl-C leaves at once, and names the command that cleans up', async () => {
    const stuck = bench.simulated(
      'stuck',
      '{startMs: 3000, faults: [{verb: destroy, kind: slow, delayMs: 2500}]}',
    );
    const running = bench.inTerminal(['create', '--profile', stuck]);
    await running.printed(/provisioning|waiting until it answers/);
    running.type('\u0003');
    await running.printed(/removing [0-9a-z]{10}/);
    running.type('\u0003');
    const { code, stdout } = await running.ended;
    expect(code).toBe(130);
    expect(plain(stdout)).toMatch(/Clean up with: sandboxer destroy [0-9a-z]{10}/);
  });
});

test('SIGTERM without a terminal removes what was begun', async () => {
  const running = bench.start(['create', '--profile', slow, '--no-wait']);
  const [, id] = await running.printed(SANDBOX_ID);
  running.process.kill('SIGTERM');
  const { code, stderr } = await running.ended;
  expect(code).toBe(130);
  expect(stderr).toContain(`the sandbox ${id} was removed`);
  expect(await stateOf(id!)).toBe('destroyed');
});
