import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildAgent } from '../../src/extensions/local/native/build.ts';
import { TestBench } from './sandbox.ts';

describe('building the agent', () => {
  let base: string;

  beforeAll(() => {
    base = mkdtempSync(join(tmpdir(), 'sandbox-build-'));
  });
  afterAll(() => rmSync(base, { recursive: true, force: true }));

  it('builds once, also when asked twice at the same time, and leaves only the result', async () => {
    const cacheDir = join(base, 'cache');
    const [first, second] = await Promise.all([buildAgent({ cacheDir }), buildAgent({ cacheDir })]);
    expect(first).toBe(second);
    expect(readdirSync(cacheDir)).toHaveLength(1);
    expect(first).toMatch(/sandboxer-agent-[0-9a-f]{16}$/);
    expect(await buildAgent({ cacheDir })).toBe(first);
  }, 30_000);

  it('prefers an agent the package carries', async () => {
    const prebuiltDir = join(base, 'prebuilt');
    const path = join(prebuiltDir, `linux-${process.arch}`, 'sandboxer-agent');
    mkdirSync(join(prebuiltDir, `linux-${process.arch}`), { recursive: true });
    writeFileSync(path, '');
    chmodSync(path, 0o755);
    expect(await buildAgent({ cacheDir: join(base, 'unused'), prebuiltDir })).toBe(path);
  });

  it('says which packages are missing without a compiler', async () => {
    const before = process.env.CC;
    process.env.CC = '/missing/cc';
    try {
      await expect(buildAgent({ cacheDir: join(base, 'other') })).rejects.toThrow('apt-get install');
    } finally {
      if (before === undefined) delete process.env.CC;
      else process.env.CC = before;
    }
    expect(readdirSync(join(base, 'other'))).toEqual([]);
  });

  it('does not hold a program open while its launcher is idle', async () => {
    const bench = await TestBench.open();
    const script = join(base, 'program.ts');
    const native = join(import.meta.dirname, '../../src/extensions/local/native/launcher.ts');
    writeFileSync(
      script,
      `import { Launcher } from ${JSON.stringify(native)};
      const launcher = new Launcher({ agentPath: ${JSON.stringify(bench.agentPath)} });
      const request = ${JSON.stringify({ ...bench.request({ deadlineMs: 500 }), token: 'T' })};
      const { pid } = await launcher.launch({ ...request, token: new Uint8Array(32) });
      console.log(pid, launcher.pid);`,
    );
    const output = execFileSync(process.execPath, [script], { timeout: 5000 }).toString();
    expect(output).toMatch(/^\d+ \d+\n$/);
    await bench.close();
  });
});
