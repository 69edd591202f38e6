/**
 * Stands in for wise-validator, by its contract: establishes a stack with the command line, checks and tests over SSH in
 * `reachability.remote_dir`, cleans up as `e2e/e2e.yml` says. Ends with 0 when everything passed, with 1 when something did
 * not, and with 2 when what it was given breaks the contract.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';
import { z } from 'zod';

const manifestSchema = z.strictObject({
  name: z.string(),
  compose_file: z.string(),
  health_checks: z.array(z.strictObject({ service: z.string(), port: z.number(), path: z.string() })),
  test_command: z.string(),
  timeout: z.number(),
  cleanup: z.enum(['always', 'on_success', 'never']),
});

/** The names that must not change; others may come. */
const createdSchema = z.object({
  sandbox_id: z.string().regex(/^[0-9a-z]+$/),
  profile_id: z.literal('profile.compose-e2e'),
  extension_id: z.string(),
  state: z.enum(['ready', 'active']),
  consumer: z.object({ actor: z.literal('atm'), project: z.literal('wise-validator') }),
  reachability: z.object({
    ssh: z.string().regex(/^[^@\s]+@[^@\s]+$/),
    remote_dir: z.string().startsWith('/'),
    compose_project: z.string().startsWith('sbx-'),
  }),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
  ready_at: z.iso.datetime(),
  ttl: z.string(),
  expires_at: z.iso.datetime(),
  telemetry: z.object({ schema_version: z.literal('0.1') }),
  meter: z.object({ estimate_usd: z.number(), actual_usd: z.number() }),
});

type Created = z.output<typeof createdSchema>;

const { values } = parseArgs({
  options: { repo: { type: 'string' }, keep: { type: 'boolean' }, 'run-id': { type: 'string' } },
});

function broken(text: string): never {
  console.error(`wise-validator: ${text}`);
  process.exit(2);
}

function sandboxer(...words: string[]) {
  const bin = process.env.SANDBOXER_BIN || 'sandboxer';
  return spawnSync(bin, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function create(repository: string): Created {
  const host = process.env.SANDBOXER_HOST ? ['--host', process.env.SANDBOXER_HOST] : [];
  const run = values['run-id'] === undefined ? [] : ['--run-id', values['run-id']];
  const who = ['--actor', 'atm', '--project', 'wise-validator'];
  const input = ['--input', `repo=${repository}`];
  const answer = sandboxer('create', '--profile', 'profile.compose-e2e', ...input, ...who, ...host, ...run);
  if (answer.status !== 0) {
    console.error(answer.stderr);
    process.exit(1);
  }
  const parsed = createdSchema.safeParse(JSON.parse(answer.stdout));
  return parsed.success ? parsed.data : broken(`the answer breaks the contract: ${parsed.error.message}`);
}

function overSsh({ reachability }: Created, command: string, seconds: number) {
  const { ssh, remote_dir, compose_project } = reachability;
  const config = process.env.SANDBOXER_SSH_CONFIG;
  const key = process.env.SANDBOXER_SSH_KEY;
  const words = [...(config ? ['-F', config] : []), ...(key ? ['-i', key] : []), '-o', 'BatchMode=yes', ssh];
  const line = `cd ${remote_dir} && export COMPOSE_PROJECT_NAME=${compose_project} && ${command}`;
  return spawnSync('ssh', [...words, line], { encoding: 'utf8', timeout: seconds * 1_000 });
}

function passes(created: Created, manifest: z.output<typeof manifestSchema>): boolean {
  for (const { service, port, path } of manifest.health_checks) {
    const container = `$(docker compose -f ${manifest.compose_file} ps -q ${service})`;
    const address = `$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' ${container})`;
    const check = overSsh(created, `curl -fsS --max-time 5 http://${address}:${port}${path}`, 30);
    console.log(`health ${service}${path}: ${check.status === 0 ? 'ok' : check.stderr}`);
    if (check.status !== 0) return false;
  }
  const test = overSsh(created, manifest.test_command, manifest.timeout);
  console.log(test.stdout + test.stderr);
  return test.status === 0;
}

const repository = values.repo ?? broken('say --repo');
const manifest = manifestSchema.parse(parse(readFileSync(join(repository, 'e2e/e2e.yml'), 'utf8')));
const created = create(repository);
const passed = passes(created, manifest);
const cleansUp = manifest.cleanup === 'always' || (manifest.cleanup === 'on_success' && passed);
if (cleansUp && values.keep !== true) {
  const answer = sandboxer('destroy', created.sandbox_id);
  if (answer.status !== 0) broken(`destroy ended with ${answer.status}: ${answer.stderr}`);
}
console.log(`${manifest.name}: ${passed ? 'passed' : 'failed'} in ${created.sandbox_id}`);
process.exit(passed ? 0 : 1);
