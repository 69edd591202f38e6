/** What is restored of a snapshot of what changed is the tree as it was, whatever became of it since the whole one. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Place } from '../../src/extensions/compose-ssh/client.ts';
import type { SnapshotRecord } from '../../src/ports/snapshot-archives.ts';
import { ChangesBench } from './changes-bench.ts';

/** Writes into a file by way of memory, once at once and once more when it is told to. */
const MAP_FILE = `
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
int main(int count, char **words) {
  int file = open(words[1], O_RDWR);
  char *bytes = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (count != 2 || bytes == MAP_FAILED) return 1;
  bytes[0] = 'b';
  close(open("/run/dirty", O_CREAT | O_WRONLY, 0600));
  while (access("/run/again", F_OK) != 0) usleep(10000);
  bytes[0] = 'c';
  close(open("/run/done", O_CREAT | O_WRONLY, 0600));
  return 0;
}
`;
const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

const PLAIN_NAMES = [
  'a',
  'a-b',
  'a b',
  'b',
  '-x',
  '!',
  '*',
  '[a]',
  '?',
  'ä',
  '日本',
  '\u{1f600}',
  '~',
  "'",
  '"$(x)"',
];
/** Names that a program on the way may tell otherwise, or take for something else. */
const STRANGE_NAMES = ['new\nline', 'end ', 'tab\t', 'back\\slash', 'back\\101', 'one\u0001two'];
const NAMES = [...PLAIN_NAMES, ...STRANGE_NAMES];
const name = fc.constantFrom(...NAMES);
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => `./${parts.join('/')}`);
/** What may fail says nothing: not everything can be done with everything. */
const step = fc.oneof(
  fc.tuple(path, fc.nat(5_000)).map(([to, bytes]) => `head -c ${bytes} /dev/urandom >${quoted(to)}`),
  path.map((to) => `printf x >>${quoted(to)}`),
  path.map((to) => `mkdir -p -- ${quoted(to)}`),
  path.map((to) => `rm -rf -- ${quoted(to)}`),
  fc.tuple(fc.constantFrom('600', '755', '444'), path).map(([mode, to]) => `chmod ${mode} ${quoted(to)}`),
  path.map((to) => `touch -d @1234567 -- ${quoted(to)}`),
  fc.tuple(path, path).map(([from, to]) => `mv -T -- ${quoted(from)} ${quoted(to)}`),
  fc.tuple(path, path).map(([from, to]) => `ln -T -- ${quoted(from)} ${quoted(to)}`),
  fc.tuple(name, path).map(([target, to]) => `ln -sT -- ${quoted(target)} ${quoted(to)}`),
  fc.tuple(path, path).map(([from, to]) => `cp -r -T -- ${quoted(from)} ${quoted(to)}`),
);
const steps = (count: number) => fc.array(step, { minLength: count, maxLength: count });

describe.runIf(process.getuid?.() === 0)('a snapshot of what changed', () => {
  let bench: ChangesBench;

  beforeAll(async () => {
    bench = await ChangesBench.open();
  });
  afterAll(() => bench[Symbol.asyncDispose]());

  const change = (place: Place, all: readonly string[]) =>
    bench.inside(place, all.map((one) => `(${one}) 2>&1 || :`).join('\n'));
  /** A workspace that has settled, and a whole snapshot of it. */
  const begun = async (script: string) => {
    const place = await bench.make();
    await bench.inside(place, script);
    await bench.settle();
    return { place, base: await bench.capture(place) };
  };
  const entriesIn = async (record: SnapshotRecord) => record.sums.parts[0]!.entries;
  /** It builds on the base, and what is restored of it is what is there. */
  const expectChanges = async (place: Place, base: SnapshotRecord) => {
    const changes = await bench.capture(place, base);
    expect(changes.manifest.based_on).toBe(base.id);
    expect(await bench.look(await bench.restore(changes, base))).toBe(await bench.look(place));
    return changes;
  };

  it('is the tree as it was, after any changes (property)', async () => {
    await fc.assert(
      fc.asyncProperty(
        steps(60),
        fc.array(steps(12), { minLength: 3, maxLength: 3 }),
        async (before, after) => {
          const place = await bench.make();
          await change(place, before);
          await bench.settle();
          const base = await bench.capture(place);
          for (const more of [[], ...after]) {
            await change(place, more);
            await expectChanges(place, base);
          }
        },
      ),
      { numRuns: 5, endOnFailure: true },
    );
  }, 240_000);

  it('holds nothing but the top when nothing changed', async () => {
    const { place, base } = await begun(
      PLAIN_NAMES.map((one) => quoted(`./${one}`))
        .map((one) => `mkdir -- ${one}; echo x >${one}/${one}`)
        .join('\n'),
    );
    expect(await entriesIn(await expectChanges(place, base))).toBe(1);
  });

  it('has what lies in a directory that did not change, however it is called', async () => {
    const all = STRANGE_NAMES.map((one) => quoted(`./d/${one}`));
    const { place, base } = await begun(`mkdir d\n${all.map((one) => `echo x >${one}`).join('\n')}`);
    await expectChanges(place, base);
  });

  it('sees a file that has its size and its time back', async () => {
    const { place, base } = await begun('echo before >f');
    await bench.inside(
      place,
      'touch -r f ../reference; echo after! >f; truncate -s 7 f; touch -r ../reference f',
    );
    await expectChanges(place, base);
  });

  it('reads again what was written within a tick of the whole one', async () => {
    const place = await bench.make();
    await bench.inside(place, 'echo x >f');
    const base = await bench.capture(place);
    expect(await entriesIn(await expectChanges(place, base))).toBe(2);
  });

  it('sees what is written by way of memory that was dirty before the whole one', async () => {
    const compiled = await bench.host.run(['cc', '-x', 'c', '-o', '/usr/local/bin/map-file', '-'], MAP_FILE);
    expect(compiled).toMatchObject({ exitCode: 0 });
    const place = await bench.make();
    await bench.inside(
      place,
      'echo a >f; map-file f </dev/null >/dev/null 2>&1 & while ! [ -e /run/dirty ]; do sleep 0.02; done',
    );
    await bench.settle();
    const base = await bench.capture(place);
    await bench.run('touch /run/again; while ! [ -e /run/done ]; do sleep 0.02; done');
    expect(await bench.inside(place, 'cat f')).toBe('c\n');
    await expectChanges(place, base);
  });

  it('keeps files of several names together, also where a directory took one of them away', async () => {
    const { place, base } = await begun(
      `mkdir d e f; echo one >d/one; ln d/one e/other; ln d/one 'f/end '; echo two >d/two; ln d/two e/two; echo x >e/x; echo z >z; ln z 'z '`,
    );
    await expectChanges(place, base);
    await bench.inside(place, 'mv d g');
    await expectChanges(place, base);
    await bench.inside(place, 'mv g ../gone');
    await expectChanges(place, base);
  });

  it('is a whole one where the host has no listing of the base, or one of another boot', async () => {
    const { place, base } = await begun('echo x >f');
    expect(
      (await bench.capture(place, { ...base, id: 'snap-00000000zzzz' })).manifest.based_on,
    ).toBeUndefined();
    const other = await bench.capture(place);
    const own = `${bench.statePath(place)}/snapshots`;
    await bench.run(`mv ${own}/${other.id}.* ${own}/${other.id}.another-boot`);
    const whole = await bench.capture(place, other);
    expect(whole.manifest.based_on).toBeUndefined();
    expect(await bench.look(await bench.restore(whole))).toBe(await bench.look(place));
  });

  it('is a whole one where a file system does not tell of every change', async () => {
    for (const at of ['.', 'inside']) {
      const place = await bench.make();
      await bench.inside(place, `mkdir inside; mount -t tmpfs tmpfs ${at}; echo x >f`);
      const base = await bench.capture(place);
      const next = await bench.capture(place, base);
      await bench.run(`umount "${place.directory}/${at}"`);
      expect(next.manifest.based_on, at).toBeUndefined();
    }
  });

  it('is right whatever tools the host has, one missing or all of another kind', async () => {
    const tools = ['find', 'awk', 'sort', 'stat', 'touch', 'sync', 'timeout', 'tr', 'grep'];
    const place = await bench.make();
    await bench.inside(place, 'mkdir d; echo x >d/x; echo y >d/y');
    await bench.settle();
    for (const those of [...tools.map((tool) => [tool]), tools]) {
      for (const program of ['/bin/busybox', '/bin/false']) {
        const before = await bench.capture(place);
        const looks = [await bench.look(place)];
        await bench.run(those.map((tool) => `ln -s ${program} /usr/local/bin/${tool}`).join('; '));
        const base = await bench.capture(place);
        await bench.inside(place, 'date +%N >d/x');
        const changes = await bench.capture(place, before);
        await bench.run(`cd /usr/local/bin; rm ${those.join(' ')}`);
        looks.push(await bench.look(place));
        const restored = [
          await bench.restore(base),
          await bench.restore(changes, changes.manifest.based_on === undefined ? null : before),
        ];
        for (const [index, one] of restored.entries())
          expect(await bench.look(one), `${those} ${program}`).toBe(looks[index]);
      }
    }
  }, 120_000);

  it('is not made where tar could not read everything, whether its stream shows that or not', async () => {
    const { place, base } = await begun('echo x >f');
    await bench.inside(place, 'echo y >f');
    for (const script of ['/usr/bin/tar "$@"', '/usr/bin/tar "$@" | head -c 3000', ':']) {
      const tar = `case "$*" in *--version*) exec /usr/bin/tar "$@" ;; esac; ${script}; echo 'no luck' >&2; exit 2`;
      await bench.host.run(['sh', '-c', 'cat >/usr/local/bin/tar'], `#!/bin/sh\n${tar}\n`);
      for (const on of [null, base]) {
        await expect(bench.capture(place, on), `${script} ${on?.id}`).rejects.toMatchObject({
          kind: 'transient',
          message: expect.stringMatching(/Reading the workspace failed: no luck/),
        });
      }
    }
    await bench.tar.install();
    await expectChanges(place, base); // no listing of what failed has taken the place of the base's
  });

  it('is a whole one after the clock was set while the base was read', async () => {
    const place = await bench.make();
    await bench.inside(place, 'echo x >f');
    await bench.settle();
    const stat = 'case "$*" in *ended*) echo 1000; echo 995 ;; *) exec /usr/bin/stat "$@" ;; esac';
    const put = 'cat >/usr/local/bin/stat && chmod 755 /usr/local/bin/stat';
    await bench.host.run(['sh', '-c', put], `#!/bin/sh\n${stat}\n`);
    const base = await bench.capture(place);
    await bench.run('rm /usr/local/bin/stat');
    expect((await bench.capture(place, base)).manifest.based_on).toBeUndefined();
  });

  it('leaves nothing behind on the host but one listing', async () => {
    const { place, base } = await begun('echo x >f');
    await bench.capture(place, base);
    const next = await bench.capture(place);
    const left = (await bench.run(`ls "${bench.statePath(place)}/snapshots"`)).trim().split('\n');
    expect(left).toEqual([expect.stringMatching(new RegExp(`^${next.id}\\.[0-9a-f-]{36}$`))]);
  });

  describe('while the tree is changed between the look and the reading', () => {
    /** Does that in the moment before tar begins. */
    const captureAround = async (place: Place, base: SnapshotRecord | null, script: string) => {
      await bench.tar.hold();
      const taken = bench.capture(place, base).then(
        (record) => ({ record, error: null }),
        (error: unknown) => ({ record: null, error }),
      );
      await bench.tar.untilHeld();
      await bench.inside(place, script);
      await bench.tar.letGo();
      return taken;
    };
    const namesOf = async (record: SnapshotRecord, base: SnapshotRecord) =>
      bench.inside(await bench.restore(record, base), 'find . | sort');

    it('follows no link that takes the place of a directory', async () => {
      const { place, base } = await begun('mkdir -p d/e; echo mine >d/e/passwd; echo x >d/y');
      await bench.inside(place, 'echo changed >d/e/passwd');
      const swap = 'mv d ../aside-$$; ln -s /etc d; mkdir -p e; ln -s /etc e/f';
      const { record } = await captureAround(place, base, swap);
      const restored = await bench.restore(record!, base);
      expect(await bench.inside(restored, 'cat d/e/passwd d/passwd e/f/passwd 2>/dev/null || :')).not.toMatch(
        /root/,
      );
    });

    it('says so where a directory gave way to a file, and keeps what it was where it went', async () => {
      const { place, base } = await begun('mkdir -p d; echo x >d/x; echo y >d/y');
      await bench.inside(place, 'echo yy >d/y');
      const { error } = await captureAround(place, base, 'mv d z; echo file >d');
      expect(error).toMatchObject({
        kind: 'transient',
        message: expect.stringMatching(/d went while it was read/),
      });
      await bench.inside(place, 'rm d; mv z d');
      const { record } = await captureAround(place, base, 'rm -r d');
      expect(await namesOf(record!, base)).toBe('.\n./d\n./d/x\n');
    });

    it('has what was elsewhere when the look came by, and is back', async () => {
      const { place, base } = await begun('mkdir d; echo x >d/x; echo y >d/y');
      const find = `/usr/bin/find "$@" | grep -a -z -v '^./d/x'; echo "find: './d': No such file or directory" >&2`;
      const put = 'cat >/usr/local/bin/find && chmod 755 /usr/local/bin/find';
      await bench.host.run(['sh', '-c', put], `#!/bin/sh\n${find}\nexit 1\n`);
      const changes = await bench.capture(place, base);
      await bench.run('rm /usr/local/bin/find');
      expect(changes.manifest.based_on).toBe(base.id);
      expect(await bench.look(await bench.restore(changes, base))).toBe(await bench.look(place));
    });

    const surrounded = async (script: string, before: string, after: string) => {
      const place = await bench.make();
      await bench.inside(place, script);
      await bench.settle();
      await bench.tar.surround(place.directory, before, after);
      const base = await bench.capture(place);
      await bench.tar.install();
      return { place, base };
    };

    it('knows what was elsewhere while the whole one was read', async () => {
      const script = 'mkdir -p d/in e; echo x >d/in/x; echo y >e/y; ln e/y e/z';
      const { place, base } = await surrounded(
        script,
        'mv d ../away; mv e/y ../y',
        'mv ../away d; mv ../y e/y',
      );
      await expectChanges(place, base);
    });

    it('knows what stood in the place of another while the whole one was read', async () => {
      const swap = 'mv d t; mv e d; mv t e';
      const script = 'mkdir -p d/in e/in f; echo d >d/in/x; echo e >e/in/x; echo f >f/x';
      const { place, base } = await surrounded(script, swap, swap);
      expect(await entriesIn(await expectChanges(place, base))).toBe(7);
    });

    it('knows what was there, or was otherwise, only while the whole one was read', async () => {
      const script = 'mkdir d; echo x >d/x; echo y >d/y; echo z >d/z';
      const before = 'echo short >d/short; mkdir e; echo y >e/y; echo other >d/y';
      const { place, base } = await surrounded(
        script,
        before,
        'rm d/short; rm -r e; echo y >d/y; echo late >d/z',
      );
      await expectChanges(place, base);
    });
  });
});
