/** Podman on a host of the lab, reached as Docker's command line reaches an engine: by the socket of its service. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LabHost } from './host.ts';
import { imageArchive } from './images.ts';

const READY_WITHIN_MS = 15_000;
const SOCKET = '/run/podman/podman.sock';
const IMAGES = '/var/tmp/lab-images.tar';

/** Podman raises limits beyond what this machine may grant; a container does without them. */
const RUNTIME = `#!/bin/sh
for word; do
  case $previous in
    --bundle | -b) file=$word/config.json ;;
    --process | -p) file=$word ;;
    *) file= ;;
  esac
  [ ! -f "$file" ] || sed -i 's/"rlimits":\\[[^]]*\\],\\{0,1\\}//' "$file"
  previous=$word
done
exec runc "$@"
`;
const CONTAINERS_CONF = `[engine]
runtime = "lab"
cgroup_manager = "cgroupfs"
events_logger = "file"
[engine.runtimes]
lab = ["/usr/local/sbin/runc-lab"]
`;
/* Plain copies: the disk of the host is an overlay already. */
const STORAGE_CONF = `[storage]
driver = "vfs"
graphroot = "/var/lib/docker/podman"
runroot = "/run/containers/storage"
`;

/** Starts the service on a host without an engine, with the lab's images. */
export async function startPodman(host: LabHost): Promise<void> {
  mkdirSync(host.outsidePath('/etc/containers'), { recursive: true });
  writeFileSync(host.outsidePath('/usr/local/sbin/runc-lab'), RUNTIME, { mode: 0o755 });
  writeFileSync(host.outsidePath('/etc/containers/containers.conf'), CONTAINERS_CONF);
  writeFileSync(host.outsidePath('/etc/containers/storage.conf'), STORAGE_CONF);
  writeFileSync(host.outsidePath(IMAGES), await imageArchive());
  const service = `setsid podman system service --time 0 unix://${SOCKET} >/var/log/podman.log 2>&1 </dev/null &`;
  const script = `
    set -e
    mkdir -p /run/podman
    podman load --quiet --input ${IMAGES} && rm ${IMAGES}
    ln -sf ${SOCKET} /var/run/docker.sock
    ${service}
  `;
  const started = await host.run(['sh', '-c', script]);
  if (started.exitCode !== 0) throw new Error(`podman does not start: ${started.stderr}`);
  const endAtMs = performance.now() + READY_WITHIN_MS;
  while ((await host.docker('version')).exitCode !== 0) {
    if (performance.now() > endAtMs) throw new Error('the service of podman does not answer');
    await sleep(50);
  }
}
