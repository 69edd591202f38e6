/** P15 (T7): a secret that passes through is in no byte that stays: store, log, events, answers, arguments. */
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type HttpBench, openHttpBench } from '../faces/http/bench.ts';

const forms = (secret: string): Buffer[] =>
  [
    secret,
    Buffer.from(secret).toString('base64').replaceAll('=', ''),
    Buffer.from(secret).toString('base64url'),
    Buffer.from(secret).toString('hex'),
    encodeURIComponent(secret),
    JSON.stringify(secret).slice(1, -1),
  ].map((text) => Buffer.from(text));

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => join(directory, name))
    .filter((path) => /(sqlite|wal|shm|journal|json|log|pid|yaml)$/.test(path) && existsSync(path));
}

function commandLines(): Buffer {
  const parts = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [readFileSync(`/proc/${pid}/cmdline`)];
      } catch {
        return []; // it has ended meanwhile
      }
    });
  return Buffer.concat(parts);
}

let bench: HttpBench;
const secrets: Record<string, string> = {};
const seen: Record<string, Buffer> = {};

beforeAll(async () => {
  bench = await openHttpBench();
  const canary = () => `c"a/n+${randomBytes(15).toString('base64url')}`;
  for (const name of ['exec environment', 'standard input', 'file content', 'output'])
    secrets[name] = canary();
  const projectToken = await bench.token(['read', 'write', 'exec'], 'red');
  secrets['an API token'] = projectToken.split('_')[2]!;
  secrets['the operator token'] = bench.operatorToken.split('_')[2]!;
  secrets['the secret of the home'] = readFileSync(join(bench.home, 'secret')).toString('latin1');
  const client = await bench.client(projectToken);
  const sandbox = await client.create({ profile: 'profile.local' });
  const running = await sandbox.start(['sleep', '20'], {
    environment: { KEY: secrets['exec environment']! },
  });
  await sandbox.run(['cat'], { stdin: secrets['standard input']! });
  await sandbox.run(['sh', '-c', 'printf %s "$0" | rev'], { environment: {}, stdin: '' });
  await sandbox.writeFile('/workspace/key', secrets['file content']!);
  await sandbox.run(['cat', '/workspace/key']);
  const failing = bench.request(`/v1/sandboxes/${sandbox.id}/exec`, {
    method: 'POST',
    token: projectToken,
    body: JSON.stringify({ command: ['no-such-command'], environment: { KEY: secrets['exec environment'] } }),
  });
  seen.errors = Buffer.from(await (await failing).text());
  const wrongToken = await bench.request('/v1/sandboxes', { token: `${projectToken}x` });
  seen['answers to a wrong token'] = Buffer.from(await wrongToken.text());
  seen['process arguments'] = commandLines();
  seen['the status'] = Buffer.from(JSON.stringify((await sandbox.refresh()).status));
  running.close();
  const events: unknown[] = [];
  for await (const event of sandbox.events()) events.push(event);
  seen.events = Buffer.from(JSON.stringify(events));
  seen['the metrics'] = Buffer.from(await (await bench.request('/metrics')).text());
  seen['the tokens listed'] = Buffer.from(await (await bench.request('/v1/tokens')).text());
  await sandbox.destroy();
  seen['the log'] = Buffer.from(bench.logged.join('\n'));
  await client.close();
});
afterAll(async () => {
  await bench[Symbol.asyncDispose]();
});

describe('a secret', () => {
  for (const name of [
    'exec environment',
    'standard input',
    'file content',
    'an API token',
    'the operator token',
    'the secret of the home',
  ]) {
    it(`(${name}) is in nothing that was said`, () => {
      for (const [place, bytes] of Object.entries(seen)) {
        for (const form of forms(secrets[name]!))
          expect(bytes.includes(form), `${place}: ${form}`).toBe(false);
      }
    });

    it(`(${name}) is in no file of the home that stays`, () => {
      const files = filesBelow(bench.home);
      for (const name of ['store.sqlite', 'store.journal'])
        expect(files.some((file) => file.endsWith(name))).toBe(true);
      for (const file of files) {
        const bytes = readFileSync(file);
        for (const form of forms(secrets[name]!))
          expect(bytes.includes(form), `${file}: ${form}`).toBe(false);
      }
    });
  }
});

describe('the test itself', () => {
  it('would find a secret that was stored', () => {
    const planted = forms('planted"canary');
    const haystack = Buffer.from(JSON.stringify({ detail: 'planted"canary' }));
    expect(planted.some((form) => haystack.includes(form))).toBe(true);
  });

  it('looked at places that hold something', () => {
    for (const [place, bytes] of Object.entries(seen)) {
      if (place !== 'the log') expect(bytes.length, place).toBeGreaterThan(10);
    }
  });
});
