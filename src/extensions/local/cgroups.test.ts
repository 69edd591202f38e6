/** Which cgroups are used and what is written into them, on both versions; version 2 by its files. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createSystemClock } from '../../adapters/clock/system-clock.ts';
import { Cgroups, findCgroups } from './cgroups.ts';

const root = mkdtempSync(join(tmpdir(), 'sbx-cgroups-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const limits = { cpu: 1.5, memoryMb: 64, processes: 20, allowDegraded: false };

function unified(controllers: string): string {
  const mount = mkdtempSync(join(root, 'v2-'));
  const own = join(mount, 'user.slice', 'session.scope');
  mkdirSync(own, { recursive: true });
  for (const directory of [join(mount, 'user.slice'), own]) {
    writeFileSync(join(directory, 'cgroup.procs'), '');
    writeFileSync(join(directory, 'cgroup.controllers'), controllers);
    writeFileSync(join(directory, 'cgroup.subtree_control'), '');
  }
  return mount;
}

function oneEach(): string {
  const mount = mkdtempSync(join(root, 'v1-'));
  for (const controller of ['memory', 'pids', 'cpu'])
    mkdirSync(join(mount, controller, 'own'), { recursive: true });
  return mount;
}

describe('version 2', () => {
  it('makes groups beside its own, passes controllers on, and sets every limit', () => {
    const mount = unified('cpu memory pids io');
    const base = findCgroups({
      membership: '0::/user.slice/session.scope\n',
      mounts: `cgroup2 ${mount} cgroup2 rw,nosuid 0 0\n`,
    });
    const parent = join(mount, 'user.slice', 'sandboxer');
    expect(base).toEqual({ version: 2, directories: { memory: parent, pids: parent, cpu: parent } });
    const cgroups = new Cgroups(base, createSystemClock());
    const files = cgroups.create('sbx-a', limits);
    expect(files).toEqual([join(parent, 'sbx-a', 'cgroup.procs')]);
    expect(readFileSync(join(mount, 'user.slice', 'cgroup.subtree_control'), 'utf8')).toBe(
      '+memory +pids +cpu',
    );
    const read = (name: string) => readFileSync(join(parent, 'sbx-a', name), 'utf8');
    expect([read('memory.max'), read('pids.max'), read('cpu.max')]).toEqual([
      '67108864',
      '20',
      '150000 100000',
    ]);
  });

  it('uses only the controllers that were delegated', () => {
    const mount = unified('pids');
    const base = findCgroups({
      membership: '0::/user.slice/session.scope\n',
      mounts: `cgroup2 ${mount} cgroup2 rw 0 0\n`,
    });
    const cgroups = new Cgroups(base, createSystemClock());
    expect([cgroups.can('memory'), cgroups.can('pids'), cgroups.can('cpu')]).toEqual([false, true, false]);
  });
});

describe('version 1', () => {
  it('makes one group a controller and sets every limit', () => {
    const mount = oneEach();
    const base = findCgroups({
      membership: '8:pids:/own\n4:memory:/own\n1:cpu:/own\n0::/\n',
      mounts: ['memory', 'pids', 'cpu']
        .map((name) => `cgroup ${mount}/${name} cgroup rw,${name} 0 0`)
        .join('\n'),
    });
    const cgroups = new Cgroups(base, createSystemClock());
    const files = ['memory', 'pids', 'cpu'].map((name) =>
      join(mount, name, 'own', 'sandboxer', 'sbx-a', 'tasks'),
    );
    expect(cgroups.create('sbx-a', limits)).toEqual(files);
    const read = (controller: string, name: string) =>
      readFileSync(join(mount, controller, 'own', 'sandboxer', 'sbx-a', name), 'utf8');
    expect(read('memory', 'memory.limit_in_bytes')).toBe('67108864');
    expect(read('pids', 'pids.max')).toBe('20');
    expect(read('cpu', 'cpu.cfs_quota_us')).toBe('150000');
  });
});

describe('without any', () => {
  it('says that nothing can be limited', () => {
    const base = findCgroups({ membership: '0::/\n', mounts: '' });
    expect(base).toBeNull();
    expect(new Cgroups(base, createSystemClock()).can('memory')).toBe(false);
  });
});
