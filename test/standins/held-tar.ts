/** The tar of a host of the lab, held back when a test wants to do something before a workspace is read. */
import type { LabHost } from '../lab/host.ts';

/** Before the host's own in its PATH. */
const TAR = `#!/bin/sh
case "$*" in *--version*) ;; *)
  if [ -e /run/hold-tar ]; then touch /run/tar-waits; while [ -e /run/hold-tar ]; do sleep 0.02; done; fi ;;
esac
exec /usr/bin/tar "$@"
`;

export class HeldTar {
  readonly #host: LabHost;

  constructor(host: LabHost) {
    this.#host = host;
  }

  async install(): Promise<void> {
    await this.#host.run(['sh', '-c', 'cat >/usr/local/bin/tar && chmod 755 /usr/local/bin/tar'], TAR);
  }

  /** From now on the first script is run in `directory` before anything is read, and the second one after it. */
  async surround(directory: string, before: string, after: string): Promise<void> {
    const around = `cd '${directory}'\n${before}\ncd /\n/usr/bin/tar "$@"\ncode=$?\ncd '${directory}'\n${after}\nexit "$code"\n`;
    const tar = `#!/bin/sh\ncase "$*" in *--version*) exec /usr/bin/tar "$@" ;; esac\n${around}`;
    await this.#host.run(['sh', '-c', 'cat >/usr/local/bin/tar'], tar);
  }

  /** From now on nothing is read until `letGo`. */
  async hold(): Promise<void> {
    await this.#host.run(['sh', '-c', 'rm -f /run/tar-waits; touch /run/hold-tar']);
  }

  /** Resolves once one waits. */
  async untilHeld(): Promise<void> {
    await this.#host.run(['sh', '-c', 'while ! [ -e /run/tar-waits ]; do sleep 0.02; done']);
  }

  async letGo(): Promise<void> {
    await this.#host.run(['rm', '-f', '/run/hold-tar']);
  }
}
