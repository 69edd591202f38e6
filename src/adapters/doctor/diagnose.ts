import { statfs } from 'node:fs/promises';
import { SandboxerError } from '../../domain/errors.ts';
import type { EngineContext } from '../../engine/context.ts';
import type { Finding } from '../../ports/extension.ts';

const LOW_SPACE_BYTES = 512 * 1024 * 1024;

async function checkSpace(home: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(home);
  const freeMiB = Math.floor((bavail * bsize) / 1024 / 1024);
  const low = bavail * bsize < LOW_SPACE_BYTES;
  return {
    check: 'space',
    status: low ? 'warning' : 'ok',
    detail: `${freeMiB} MiB free for ${home}`,
    remedy: low ? 'Free some space, or set SANDBOXER_HOME to a larger disk.' : null,
  };
}

async function checkProfiles(engine: EngineContext): Promise<Finding[]> {
  const { entries, broken } = await engine.profiles.list();
  const refused = broken.map(
    ({ file, problems }): Finding => ({
      check: 'profile',
      status: 'warning',
      detail: problems[0] ?? file,
      remedy: `sandboxer profiles validate ${file}`,
    }),
  );
  return [
    { check: 'profiles', status: 'ok', detail: `${entries.length} can be used`, remedy: null },
    ...refused,
  ];
}

async function checkHosts(engine: EngineContext): Promise<Finding> {
  try {
    const entries = await engine.hosts.entries();
    const draining = entries.filter(({ host }) => host.draining).length;
    const detail = `${entries.length} registered${draining === 0 ? '' : `, ${draining} draining`}`;
    return { check: 'hosts', status: 'ok', detail, remedy: null };
  } catch (error) {
    if (!(error instanceof SandboxerError)) throw error;
    return { check: 'hosts', status: 'failed', detail: error.message, remedy: error.nextStep ?? null };
  }
}

async function checkExtension(engine: EngineContext, id: string, signal: AbortSignal): Promise<Finding[]> {
  const extension = await engine.extensions.load(id);
  if (extension.diagnose !== undefined) return [...(await extension.diagnose(signal))];
  const health = await extension.health(signal);
  return [
    {
      check: id,
      status: health.ok ? 'ok' : 'warning',
      detail: health.reason ?? 'can take work',
      remedy: null,
    },
  ];
}

/** Everything a person may have to put right on this machine, with the command that does it. */
export async function diagnose(engine: EngineContext, home: string, signal: AbortSignal): Promise<Finding[]> {
  const findings: Finding[] = [
    { check: 'node', status: 'ok', detail: process.version, remedy: null },
    { check: 'home', status: 'ok', detail: home, remedy: null },
    await checkSpace(home),
    ...(await checkProfiles(engine)),
    await checkHosts(engine),
  ];
  for (const { id } of engine.extensions.summaries()) {
    findings.push(...(await checkExtension(engine, id, signal)));
  }
  return findings;
}
