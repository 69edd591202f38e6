/** A host of test/lab with a server of ours that knows it, and ssh to the same host. Needs root. */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { hostSchema } from '../../src/domain/host/host.ts';
import type { LabHost } from '../../test/lab/host.ts';
import { loadImages, WEB_IMAGE } from '../../test/lab/images.ts';
import { startLab } from '../../test/lab/lab.ts';
import type { Bench } from './row.ts';
import { newHome, type RunningServer, scratchDirectory, startServer } from './server-process.ts';

export const STACK_PROFILE_ID = 'profile.bench-stack';
const PROFILE = `id: ${STACK_PROFILE_ID}
version: "1.0.0"
extension: ext.compose-ssh
isolation: {level: container}
network: {default: allow}
ttl: {default: 1h, max: 2h}
`;

export interface StackHost {
  readonly host: LabHost;
  readonly server: RunningServer;
  readonly home: string;
  /** Words of `ssh` to the host, over one connection that stays. */
  readonly shared: readonly string[];
  readonly fresh: readonly string[];
}

/** Runs a program to its end; rejects unless that was 0. */
export async function run(words: readonly string[], input = ''): Promise<void> {
  const child = spawn(words[0]!, words.slice(1), { stdio: ['pipe', 'ignore', 'pipe'] });
  let complaint = '';
  child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString('utf8')));
  child.stdin.end(input);
  const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  if (code !== 0) throw new Error(`${words.join(' ')} ended with ${code}: ${complaint}`);
}

export async function openStackHost(bench: Bench): Promise<StackHost> {
  const lab = await startLab({ hosts: 1 });
  bench.atEnd(() => lab.stop());
  const host = lab.hosts[0]!;
  await loadImages(host);
  const home = newHome(bench, 'hosts');
  writeFileSync(join(home, 'profiles', `${STACK_PROFILE_ID}.yaml`), PROFILE);
  const ssh = { user: host.user, address: host.address, port: host.port, key_file: lab.keyFile };
  const entry = hostSchema.parse({ name: host.name, ssh, base_directory: host.baseDirectory });
  writeFileSync(join(home, 'hosts.yaml'), stringify([entry]));
  process.env.SANDBOXER_SSH_CONFIG = lab.sshConfigFile;
  process.env.SANDBOXER_CANARY_IMAGE = WEB_IMAGE;
  const server = await startServer(bench, { home });
  const control = join(scratchDirectory(bench, 'ssh'), 'control');
  const plain = ['ssh', '-F', lab.sshConfigFile, '-i', lab.keyFile];
  const destination = `${host.user}@${host.address}`;
  const shared = [
    ...plain,
    '-o',
    `ControlPath=${control}`,
    '-o',
    'ControlMaster=auto',
    '-o',
    'ControlPersist=600',
  ];
  bench.atEnd(() => run([...shared, '-O', 'exit', destination]));
  return { host, server, home, shared: [...shared, destination], fresh: [...plain, destination] };
}
