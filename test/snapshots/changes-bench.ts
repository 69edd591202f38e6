/** Workspaces on a host of the lab, in and out of archives, without any stack. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystemClock } from '../../src/adapters/clock/system-clock.ts';
import { createHostLinks } from '../../src/adapters/host-links/links.ts';
import { createSnapshotArchives } from '../../src/adapters/snapshot-archives/archives.ts';
import { HostClient, type Place, placeOf } from '../../src/extensions/compose-ssh/client.ts';
import { unpackWorkspace } from '../../src/extensions/compose-ssh/workspace.ts';
import { startReading } from '../../src/extensions/compose-ssh/workspace-reader.ts';
import type { HostLinks } from '../../src/ports/host-link.ts';
import type { SnapshotRecord } from '../../src/ports/snapshot-archives.ts';
import type { LabHost } from '../lab/host.ts';
import { type Lab, startLab } from '../lab/lab.ts';
import { hostOf } from '../standins/compose-harness.ts';
import { HeldTar } from '../standins/held-tar.ts';
import { sampleSnapshot } from '../standins/sample-record.ts';
import { NO_ABORT } from './archive-bench.ts';

/** What changes a file again within this many seconds of a snapshot might leave its times as they are. */
const UNSETTLED_S = 2;

const LOOK = `
find . -printf '%p %y %m %Ts %l\\0' | sort -z | tr '\\0' '|'
find . -type f -print0 | sort -z | xargs -0r sha256sum -z | tr '\\0' '|'
`;
/** The names of files that have several. */
const LINKS = `find . -type f -links +1 -printf '%i %p\\0'`;

export class ChangesBench {
  readonly host: LabHost;
  readonly tar: HeldTar;
  readonly archives;
  readonly directory = mkdtempSync(join(tmpdir(), 'sbx-changes-'));
  readonly #lab: Lab;
  readonly #links: HostLinks;
  readonly #client: HostClient;
  #count = 0;

  private constructor(lab: Lab) {
    this.#lab = lab;
    this.host = lab.hosts[0]!;
    this.tar = new HeldTar(this.host);
    this.archives = createSnapshotArchives(join(this.directory, 'snapshots'));
    this.#links = createHostLinks({
      directory: join(this.directory, 'links'),
      clock: createSystemClock(),
      environment: { PATH: process.env.PATH },
      configFile: lab.sshConfigFile,
    });
    const host = hostOf(this.host, lab.keyFile);
    this.#client = new HostClient(host, this.#links.link(host));
  }

  static async open(): Promise<ChangesBench> {
    const lab = await startLab({ hosts: 1, engines: false });
    await lab.hosts[0]!.useDisk(256);
    const bench = new ChangesBench(lab);
    await bench.tar.install();
    return bench;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#links.close();
    await this.#lab.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** An empty workspace. */
  async make(): Promise<Place> {
    this.#count += 1;
    const key = String(this.#count).padStart(10, '0');
    const place = placeOf(this.#client.host, `sbx-${key}`);
    await this.run(`mkdir -p "${place.directory}" "${this.statePath(place)}"`);
    return place;
  }

  statePath({ key }: Place): string {
    return `${this.host.baseDirectory}/.sandboxer/${key}`;
  }

  /** At the console of the host; rejects unless it ended well and said nothing to complain. */
  async run(script: string): Promise<string> {
    const { exitCode, stdout, stderr } = await this.host.run(['sh', '-ec', script]);
    if (exitCode !== 0 || stderr !== '') throw new Error(`${script}: ${exitCode} ${stderr}`);
    return stdout;
  }

  inside(place: Place, script: string): Promise<string> {
    return this.run(`cd "${place.directory}"\n${script}`);
  }

  /** Until nothing of it could change without its times changing too. */
  settle(): Promise<string> {
    return this.run(`sleep ${UNSETTLED_S}.1`);
  }

  /** Everything about a workspace that a snapshot keeps. */
  async look(place: Place): Promise<string> {
    const groups = new Map<string, string[]>();
    for (const line of (await this.inside(place, LINKS)).split('\0').filter((one) => one !== '')) {
      const end = line.indexOf(' ');
      const number = line.slice(0, end);
      groups.set(number, [...(groups.get(number) ?? []), line.slice(end + 1)].sort());
    }
    const several = [...groups.values()].filter(({ length }) => length > 1);
    const links = several.map((names) => names.join(' = ')).sort();
    return [await this.inside(place, `export LC_ALL=C\n${LOOK}`), ...links].join('\n');
  }

  async capture(place: Place, base: SnapshotRecord | null = null): Promise<SnapshotRecord> {
    this.#count += 1;
    const { id, manifest: whole } = sampleSnapshot(this.#count);
    const request = { snapshotId: id, baseId: base?.id ?? null };
    const reader = await startReading(this.#client, place, request, NO_ABORT);
    try {
      const isChanges = await reader.begin();
      const manifest = { ...whole, ...(isChanges ? { based_on: base!.id } : {}) };
      const part = { part: { kind: 'workspace' }, isChanges, open: async () => reader.content() } as const;
      const written = await this.archives.write(manifest, [part], NO_ABORT);
      await reader.end();
      return { ...sampleSnapshot(0), ...written, id, manifest };
    } finally {
      reader.stop();
    }
  }

  /** Into a new workspace. */
  async restore(record: SnapshotRecord, base: SnapshotRecord | null = null): Promise<Place> {
    const place = await this.make();
    for await (const part of this.archives.read({ record, base }, () => true, NO_ABORT))
      await unpackWorkspace(this.#client, place, part, NO_ABORT);
    return place;
  }
}
