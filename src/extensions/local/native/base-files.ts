/** The files every sandbox sees beside its own: a small `/etc`, and which of the host's directories hold programs. */

import { randomUUID } from 'node:crypto';
import {
  chmod,
  cp,
  lstat,
  mkdir,
  readdir,
  readlink,
  rename,
  rm,
  stat,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import type { HostLink, PreparedEtc, SandboxRoot } from './box-plan.ts';

/** Public, needed by programs, and without anything about this host's users or secrets. */
const COPIED = [
  'ld.so.cache',
  'ld.so.conf',
  'ld.so.conf.d',
  'ssl/openssl.cnf',
  'ca-certificates',
  'localtime',
  'protocols',
  'services',
  'mime.types',
  'terminfo',
  'bash.bashrc',
  'profile',
];

/** Large public directories, bound from the host instead of copied. */
const BOUND = ['alternatives', 'ssl/certs'];

const GENERATED: Readonly<Record<string, string>> = {
  passwd:
    'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n' +
    'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n',
  group: 'root:x:0:\ntty:x:5:\nuser:x:1000:\nnogroup:x:65534:\n',
  hosts: '127.0.0.1 localhost sandbox\n::1 localhost ip6-localhost ip6-loopback\n',
  hostname: 'sandbox\n',
  'nsswitch.conf':
    'passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n',
  'resolv.conf': '',
};

const PROGRAM_DIRECTORIES = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];
/** Directories a mount needs in an image, which is read-only by then. */
const MOUNT_POINTS = ['etc', 'proc', 'dev', 'tmp', 'run', 'root', 'var/tmp', 'workspace', 'home/user'];

const HOST_ETC = '/etc';

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}

/** Readable by everybody, whatever this process's file mode mask is: the ids of a sandbox own none of it. */
async function makePublic(directory: string): Promise<void> {
  await chmod(directory, 0o755);
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) await makePublic(path);
    else if (entry.isFile()) await chmod(path, 0o644);
  }
}

async function copyIfPresent(source: string, target: string): Promise<void> {
  try {
    /* Links stay as they are: those of /etc/alternatives and /etc/ssl/certs point into /usr. */
    await cp(source, target, { recursive: true, verbatimSymlinks: true });
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

/** Writes a fresh `/etc` to `target`, replacing what is there. A running sandbox keeps the one it started with. */
export async function prepareEtcDirectory(target: string): Promise<PreparedEtc> {
  const fresh = `${target}.${randomUUID()}`;
  await mkdir(join(fresh, 'ssl'), { recursive: true, mode: 0o755 });
  for (const name of COPIED) await copyIfPresent(join(HOST_ETC, name), join(fresh, name));
  for (const [name, text] of Object.entries(GENERATED)) {
    await writeFile(join(fresh, name), text, { mode: 0o644, flag: 'w' });
  }
  const binds: string[] = [];
  for (const name of BOUND) {
    const source = join(HOST_ETC, name);
    if (!(await isRealDirectory(source))) continue;
    await mkdir(join(fresh, name), { recursive: true });
    binds.push(source);
  }
  await makePublic(fresh);
  const old = `${target}.${randomUUID()}`;
  try {
    await rename(target, old);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  await rename(fresh, target);
  await rm(old, { recursive: true, force: true });
  return { directory: target, binds };
}

/** How this host lays out its programs: `/bin` and the like are links into `/usr`, or directories of their own. */
export async function findHostBase(): Promise<SandboxRoot & { kind: 'host' }> {
  const links: HostLink[] = [];
  const directories: string[] = [];
  for (const path of PROGRAM_DIRECTORIES) {
    try {
      const status = await lstat(path);
      if (status.isSymbolicLink()) links.push({ path, target: await readlink(path) });
      else if (status.isDirectory()) directories.push(path);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
  return { kind: 'host', links, directories };
}

async function isRealDirectory(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isDirectory();
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

async function ensureRealDirectory(path: string): Promise<void> {
  try {
    const status = await lstat(path);
    if (status.isDirectory()) return;
    /* A link here would move the mount, in the worst case out of the image. */
    await unlink(path);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  await mkdir(path, { mode: 0o755 });
}

/** Makes an extracted image usable: mount points as true directories and the small generated files of `/etc`. */
export async function prepareImageRoot(root: string): Promise<void> {
  if (!(await stat(root)).isDirectory()) throw new Error(`the image root ${root} is no directory`);
  await chmod(root, 0o755);
  for (const point of MOUNT_POINTS) {
    let path = root;
    for (const part of point.split('/')) {
      path = join(path, part);
      await ensureRealDirectory(path);
    }
  }
  for (const name of ['hosts', 'hostname', 'resolv.conf']) {
    const path = join(root, 'etc', name);
    await rm(path, { recursive: true, force: true });
    await writeFile(path, GENERATED[name] ?? '', { mode: 0o644, flag: 'wx' });
  }
}
