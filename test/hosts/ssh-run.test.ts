/** What a link promises about commands, against a real sshd. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSystemClock } from '../../src/adapters/clock/system-clock.ts';
import { createHostLinks } from '../../src/adapters/host-links/links.ts';
import { hostSchema } from '../../src/domain/host/host.ts';
import type { HostLink } from '../../src/ports/host-link.ts';
import { eventually, type Sshd, startSshd } from './sshd.ts';

const TIMEOUT_MS = 10_000;
const sh = (script: string, ...words: string[]) => ['sh', '-c', script, 'sh', ...words];

let sshd: Sshd;
const local = createHostLinks({
  directory: '/nonexistent',
  clock: createSystemClock(),
  environment: process.env,
});
const links: Record<string, HostLink> = {};

beforeAll(async () => {
  sshd = await startSshd();
  links.ssh = sshd.links().link(sshd.host);
  links.local = local.link(hostSchema.parse({ name: 'here', ssh: null }));
});
afterAll(() => sshd.remove());

for (const name of ['ssh', 'local']) {
  describe(`a command over ${name}`, () => {
    const run = (command: readonly string[], more: object = {}) =>
      links[name]!.run({ command, timeoutMs: TIMEOUT_MS, ...more });

    it('gets its words, directory, environment and input as they are', async () => {
      const words = [
        '',
        ' ',
        '-n',
        "it's",
        'a"b',
        '$HOME',
        '`id`',
        '\\',
        'line\nbreak',
        '*',
        'ünï',
        '\t\x01',
      ];
      const script = 'printf "%s|" "$@" "$ODD" "$directory" "$mark" "$code" "$(pwd)"; cat';
      const result = await run(sh(script, ...words), {
        workingDirectory: '/usr',
        environment: { ODD: "o'd\nd $x", directory: 'd', mark: 'm', code: 'c' },
        input: 'in\0put',
      });
      const expected = [...words, "o'd\nd $x", 'd', 'm', 'c', '/usr', 'in\0put'].join('|');
      expect(result).toEqual({ exitCode: 0, stdout: expected, stderr: '' });
    });

    it.each([0, 1, 2, 126, 127, 128, 254, 255])('tells the exit code %i', async (code) => {
      expect(await run(sh(`echo out; echo err >&2; exit ${code}`))).toEqual({
        exitCode: code,
        stdout: 'out\n',
        stderr: 'err\n',
      });
    });

    it('tells the signal that ended it, and what could not be started', async () => {
      expect((await run(sh('kill -9 $$'))).exitCode).toBe(137);
      expect((await run(sh('kill -TERM $$'))).exitCode).toBe(143);
      expect((await run(['no-such-program'])).exitCode).toBe(127);
      expect((await run(['/etc/passwd'])).exitCode).toBe(126);
      expect((await run(['true'], { workingDirectory: '/no/such/place' })).exitCode).toBe(127);
      expect((await run(['echo', '-e', 'a\\tb'])).stdout).toBe('a\tb\n');
    });

    it('is refused when no program could be given its words', async () => {
      for (const command of [[], [''], ['a\0b'], ['A=b']])
        await expect(run(command)).rejects.toMatchObject({ kind: 'invalid' });
      await expect(run(['true'], { workingDirectory: 'a' })).rejects.toMatchObject({ kind: 'invalid' });
      await expect(run(['true'], { environment: { 'A B': '' } })).rejects.toMatchObject({ kind: 'invalid' });
      await expect(run(['true', 'x'.repeat(200_000)])).rejects.toMatchObject({ kind: 'invalid' });
    });

    it('is ended, there too, when it takes longer than it may', async () => {
      const flag = join(sshd.directory, `${name}-late`);
      const script = 'trap "" HUP; (sleep 4; touch "$1") & sleep 30';
      const begun = performance.now();
      await expect(run(sh(script, flag), { timeoutMs: 300 })).rejects.toMatchObject({
        kind: 'transient',
        message: 'sh on the host took longer than 300 ms.',
      });
      expect(performance.now() - begun).toBeLessThan(3_500);
      expect(await eventually(() => existsSync(flag), 4_200)).toBe(false);
    });

    it('is ended when its caller gives up, and when it says too much', async () => {
      const signal = AbortSignal.timeout(100);
      await expect(run(['sleep', '20'], { signal })).rejects.toMatchObject({ kind: 'transient' });
      await expect(run(['yes'], { outputLimitBytes: 100_000 })).rejects.toMatchObject({ kind: 'bug' });
    });

    it('passes 50 MB in and out without a bit changed', async () => {
      const block = randomBytes(1024 * 1024);
      const sent = createHash('sha256');
      const received = createHash('sha256');
      const cat = await links[name]!.start({ command: ['cat'] });
      const source = async function* () {
        for (let count = 0; count < 50; count += 1) {
          sent.update(block);
          yield block;
        }
      };
      await Promise.all([pipeline(source, cat.stdin), pipeline(cat.stdout, received)]);
      expect(await cat.exit).toBe(0);
      expect(received.digest('hex')).toBe(sent.digest('hex'));
    });

    it('is slowed down by a reader who does not read, and ends when killed', async () => {
      const counter = join(sshd.directory, `${name}-count`);
      const script =
        'echo >> "$1"; while dd if=/dev/zero bs=262144 count=1 2>/dev/null; do echo >> "$1"; done';
      const talker = await links[name]!.start({ command: sh(script, counter) });
      const blocks = () => (existsSync(counter) ? readFileSync(counter, 'utf8').length : 0);
      let [before, sinceMs] = [-1, 0];
      const hasSettled = () => {
        if (blocks() !== before) [before, sinceMs] = [blocks(), performance.now()];
        return before > 0 && performance.now() - sinceMs > 400;
      };
      expect(await eventually(hasSettled, 5_000)).toBe(true);
      // Each block is a quarter of a megabyte: pipes and the window of the channel hold a few of them.
      expect(before).toBeLessThan(40);
      talker.kill();
      expect(await talker.exit).toBeGreaterThan(128);
    });

    it('keeps what it said for a reader who comes after its end', async () => {
      const brief = await links[name]!.start({ command: sh('echo out; echo err >&2') });
      expect(await brief.exit).toBe(0);
      await pause(50);
      expect(await text(brief.stdout)).toBe('out\n');
      expect(await text(brief.stderr)).toBe('err\n');
    });

    it('talks while it runs', async () => {
      const cat = await links[name]!.start({ command: sh('cat >&2') });
      for (const word of ['one', 'two', 'sbx']) {
        const answer = Promise.withResolvers<string>();
        cat.stderr.once('data', (data: Buffer) => answer.resolve(data.toString()));
        cat.stdin.write(word);
        expect(await answer.promise).toBe(word);
      }
      cat.stdin.end();
      expect(await cat.exit).toBe(0);
    });
  });
}
