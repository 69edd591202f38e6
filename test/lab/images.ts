/**
 * Images without a registry: one layer of a static busybox, two configurations, in one archive that every engine loads.
 * `sandboxer-lab/web:1` serves /www on 8080. `sandboxer-lab/data:1` answers SET, GET and PING on 5432 and keeps its values
 * in the volume /data; its health command is `data-ping`.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import type { LabHost } from './host.ts';

export const WEB_IMAGE = 'sandboxer-lab/web:1';
export const DATA_IMAGE = 'sandboxer-lab/data:1';

const BUSYBOX = '/bin/busybox';
const BUILD_DIRECTORY = resolve(import.meta.dirname, '../../build/lab');

const DATA_ANSWER = `#!/bin/sh
read -r verb key value
case $verb in
  PING) echo PONG ;;
  SET) printf '%s\\n' "$value" >"/data/$key" && echo OK ;;
  GET) cat "/data/$key" 2>/dev/null || echo NONE ;;
  *) echo UNKNOWN ;;
esac
`;
/** A send without an end of input would leave the other side waiting; -w bounds the connection, not the answer. */
const DATA_ASK = `#!/bin/sh
echo "$2" | nc -w 2 "$1" 5432
`;
const DATA_PING = `#!/bin/sh
[ "$(data-ask 127.0.0.1 PING)" = PONG ]
`;

const FILES: Readonly<Record<string, string>> = {
  'bin/data-answer': DATA_ANSWER,
  'bin/data-ask': DATA_ASK,
  'bin/data-ping': DATA_PING,
  'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\n',
  'etc/group': 'root:x:0:\n',
  'www/index.html': 'sandboxer-lab web\n',
};
const DIRECTORIES = ['bin', 'etc', 'data', 'dev', 'proc', 'root', 'run', 'sys', 'var', 'www', 'workspace'];

const COMMON = { Env: ['PATH=/bin'], WorkingDir: '/', StopSignal: 'SIGKILL' };
const CONFIGURATIONS: Readonly<Record<string, object>> = {
  [WEB_IMAGE]: {
    ...COMMON,
    Cmd: ['httpd', '-f', '-p', '8080', '-h', '/www'],
    ExposedPorts: { '8080/tcp': {} },
  },
  [DATA_IMAGE]: {
    ...COMMON,
    Cmd: ['nc', '-ll', '-p', '5432', '-e', '/bin/data-answer'],
    ExposedPorts: { '5432/tcp': {} },
    Volumes: { '/data': {} },
  },
};

const MTIME = new Date(0);
const hex = (content: Uint8Array | string) => createHash('sha256').update(content).digest('hex');

function buildLayer(busybox: Buffer): Promise<Buffer> {
  const layer = pack();
  for (const name of DIRECTORIES)
    layer.entry({ name: `${name}/`, type: 'directory', mode: 0o755, mtime: MTIME });
  layer.entry({ name: 'tmp/', type: 'directory', mode: 0o1777, mtime: MTIME });
  layer.entry({ name: 'bin/busybox', mode: 0o755, mtime: MTIME }, busybox);
  const applets = execFileSync(BUSYBOX, ['--list'], { encoding: 'utf8' }).trim().split('\n');
  for (const applet of applets.filter((name) => name !== 'busybox')) {
    layer.entry({ name: `bin/${applet}`, type: 'symlink', linkname: 'busybox', mtime: MTIME });
  }
  for (const [name, text] of Object.entries(FILES)) layer.entry({ name, mode: 0o755, mtime: MTIME }, text);
  layer.finalize();
  return buffer(layer);
}

/** The form of `docker save`. */
async function buildArchive(busybox: Buffer): Promise<Buffer> {
  const layer = await buildLayer(busybox);
  const archive = pack();
  archive.entry({ name: 'layer.tar', mtime: MTIME }, layer);
  const manifest = Object.entries(CONFIGURATIONS).map(([tag, config]) => {
    const text = JSON.stringify({
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      created: MTIME.toISOString(),
      config,
      rootfs: { type: 'layers', diff_ids: [`sha256:${hex(layer)}`] },
      history: [{ created: MTIME.toISOString(), created_by: 'sandboxer lab' }],
    });
    const name = `${hex(text)}.json`;
    archive.entry({ name, mtime: MTIME }, text);
    return { Config: name, RepoTags: [tag], Layers: ['layer.tar'] };
  });
  archive.entry({ name: 'manifest.json', mtime: MTIME }, JSON.stringify(manifest));
  archive.finalize();
  return buffer(archive);
}

/** Built once for a busybox and a version of this file. */
export async function imageArchive(): Promise<Buffer> {
  const busybox = readFileSync(BUSYBOX);
  const version = hex(hex(busybox) + readFileSync(import.meta.filename, 'utf8')).slice(0, 16);
  const file = resolve(BUILD_DIRECTORY, `images-${version}.tar`);
  if (existsSync(file)) return readFileSync(file);
  const archive = await buildArchive(busybox);
  mkdirSync(BUILD_DIRECTORY, { recursive: true });
  writeFileSync(`${file}.${process.pid}`, archive);
  renameSync(`${file}.${process.pid}`, file);
  return archive;
}

export async function loadImages(host: LabHost): Promise<void> {
  await host.loadImage(await imageArchive());
}
