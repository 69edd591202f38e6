/** Proves, before the first sandbox, that isolation holds here. Fails closed: there is no other way to run. */
import { randomUUID } from 'node:crypto';
import { readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecSession, ExecSpec, Sessions } from '../../ports/extension.ts';

const NAMESPACES = ['pid', 'net', 'mnt', 'ipc', 'uts', 'user'] as const;

const PROBE = `
for n in ${NAMESPACES.join(' ')}; do echo "$n=$(readlink /proc/self/ns/$n)"; done
grep -E '^(Seccomp|NoNewPrivs|CapEff|CapBnd):' /proc/self/status | tr -d '\\t'
echo "interfaces=$(tail -n +3 /proc/net/dev | grep -cv ' *lo:')"
echo "init=$(cat /proc/1/environ 2>/dev/null | wc -c)"
if cat "$1" 2>/dev/null; then echo; fi
`;

const SPEC: Omit<ExecSpec, 'command'> = {
  environment: {},
  workingDirectory: '/',
  user: 'user',
  terminal: null,
  stdin: false,
  timeoutMs: 5_000,
  outputLimitBytes: 65_536,
  detach: false,
};

async function output(session: ExecSession): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const { data } of session.output) chunks.push(data);
  await session.exit;
  return Buffer.concat(chunks).toString('utf8');
}

function verdict(text: string, canary: string): string | null {
  const lines = text.split('\n');
  for (const name of NAMESPACES) {
    const inside = lines.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1);
    if (!inside?.startsWith(`${name}:[`)) return `the ${name} namespace could not be seen`;
    if (inside === readlinkSync(`/proc/self/ns/${name}`))
      return `the ${name} namespace is shared with this machine`;
  }
  if (!lines.includes('Seccomp:2')) return 'no seccomp filter is in force';
  if (!lines.includes('NoNewPrivs:1')) return 'programs could gain privileges';
  if (!lines.includes('CapEff:0000000000000000')) return 'commands hold capabilities';
  if (!lines.includes('interfaces=0')) return 'there is a network';
  if (!lines.includes('init=0')) return 'the environment of the first process can be read';
  if (text.includes(canary)) return 'a file of this machine can be read';
  return null;
}

/** Null when every probe held, else the sentence that says which did not. `directory` is ours, on the host. */
export async function selfTest(
  sessions: Sessions,
  reference: Parameters<Sessions['exec']>[0],
  directory: string,
  signal: AbortSignal,
): Promise<string | null> {
  const canary = randomUUID();
  const file = join(directory, `canary-${canary}`);
  writeFileSync(file, canary, { mode: 0o644 });
  try {
    const session = await sessions.exec(
      reference,
      { ...SPEC, command: ['sh', '-c', PROBE, 'sh', file] },
      signal,
    );
    return verdict(await output(session), canary);
  } finally {
    rmSync(file);
  }
}
