/** A home whose hosts are those of the lab, for tests of the whole program. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Login } from '../lab/host.ts';
import { loadImages, WEB_IMAGE } from '../lab/images.ts';
import { type Lab, startLab } from '../lab/lab.ts';
import { hostOf } from './compose-harness.ts';

export interface ComposeHome {
  readonly lab: Lab;
  readonly home: string;
  /** For the environment of whatever works in the home. */
  readonly variables: Readonly<Record<string, string>>;
  /** One idle service on a host; needs no repository. */
  readonly profile: string;
}

const PROFILE = `
id: profile.idle-stack
version: "1.0.0"
extension: ext.compose-ssh
isolation: {level: container}
ttl: {default: 10m, max: 1h}
`;

export async function openComposeHome(count: number, login: Login = 'root'): Promise<ComposeHome> {
  const lab = await startLab({ hosts: count, login });
  await Promise.all(lab.hosts.map(loadImages));
  const home = mkdtempSync(join(tmpdir(), 'sbx-home-'));
  mkdirSync(join(home, 'profiles'));
  writeFileSync(join(home, 'profiles', 'profile.idle-stack.yaml'), PROFILE);
  const hosts = lab.hosts.map((host) => ({ ...hostOf(host, lab.keyFile), slots: 100 }));
  writeFileSync(join(home, 'hosts.yaml'), stringify(hosts));
  return {
    lab,
    home,
    variables: {
      PATH: process.env.PATH ?? '',
      SANDBOXER_HOME: home,
      SANDBOXER_SSH_CONFIG: lab.sshConfigFile,
      SANDBOXER_CANARY_IMAGE: WEB_IMAGE,
    },
    profile: 'profile.idle-stack',
  };
}
