/** The host's sshd: plain keys, no certificates, no PAM. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { demandCommand } from './command.ts';
import type { Inside } from './engine.ts';

const CONFIGURATION = `Port 22
ListenAddress 0.0.0.0
HostKey /etc/lab-ssh/host_key
AuthorizedKeysFile /etc/lab-ssh/authorized_keys /etc/lab-keys/%u
PidFile /run/sshd.pid
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
MaxSessions 100
MaxStartups 100:30:200
SetEnv PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
Subsystem sftp internal-sftp
`;

export interface SshDaemon {
  start(): Promise<void>;
  /** Connections that exist go on. */
  stop(): Promise<void>;
  /** Ends every connection; the daemon, if it runs, takes new ones. */
  killSessions(): Promise<void>;
  /** A restart with a key nobody knows. Answers the new known_hosts lines. */
  changeHostKey(): Promise<string>;
}

export function makeKey(file: string, comment: string): Promise<string> {
  return demandCommand(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', comment, '-f', file]);
}

/** What the host copies to its disk at its first start; answers the host's public key. */
export async function prepareHostKeys(directory: string, userKey: string): Promise<string> {
  mkdirSync(directory, { recursive: true });
  await makeKey(join(directory, 'host_key'), 'lab host');
  writeFileSync(join(directory, 'authorized_keys'), userKey);
  writeFileSync(join(directory, 'sshd_config'), CONFIGURATION);
  return readFileSync(join(directory, 'host_key.pub'), 'utf8');
}

export function knownHostsLines(name: string, address: string, publicKey: string): string {
  const [type, key] = publicKey.trim().split(' ');
  return `${name},${address} ${type} ${key}\n`;
}

/** Every sshd but the one that listens, whatever this release calls its helpers. The pids are those inside the host. */
const KILL_SESSIONS = `listener=$(cat /run/sshd.pid 2>/dev/null || echo 0)
for directory in /proc/[0-9]*; do
  pid=\${directory#/proc/}
  read -r program 2>/dev/null <"$directory/comm" || continue
  case $program in sshd*) [ "$pid" = "$listener" ] || kill -KILL "$pid" 2>/dev/null || : ;; esac
done`;

const STOP = `if [ -e /run/sshd.pid ]; then
  read -r pid </run/sshd.pid; kill "$pid"
  while [ -d "/proc/$pid" ]; do sleep 0.02; done
  rm -f /run/sshd.pid
fi`;

export function createSshDaemon(inside: Inside, name: string, address: string): SshDaemon {
  // It goes to the background once it listens.
  const start = async () =>
    void (await inside.shell('/usr/sbin/sshd -f /etc/lab-ssh/sshd_config -E /var/log/sshd.log'));
  const stop = async () => void (await inside.shell(STOP));
  return {
    start,
    stop,
    killSessions: async () => void (await inside.shell(KILL_SESSIONS)),
    async changeHostKey() {
      await inside.shell(
        'rm -f /etc/lab-ssh/host_key*; ssh-keygen -q -t ed25519 -N "" -C "lab host" -f /etc/lab-ssh/host_key',
      );
      await stop();
      await start();
      return knownHostsLines(name, address, await inside.shell('cat /etc/lab-ssh/host_key.pub'));
    },
  };
}
