/** The composition root: the only file that knows every concrete class. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createSystemClock } from './adapters/clock/system-clock.ts';
import { diagnose } from './adapters/doctor/diagnose.ts';
import { SYSTEM_ENTROPY } from './adapters/entropy/system-entropy.ts';
import { createLazyRegistry, type InstalledExtension } from './adapters/extension-registry/lazy-registry.ts';
import { clockAnchor, type Home, openHome } from './adapters/home/home.ts';
import { createHostDirectory } from './adapters/host-directory/directory.ts';
import { createLazyLinks } from './adapters/host-directory/lazy-links.ts';
import { YamlProfileSource } from './adapters/profiles-yaml/source.ts';
import { createSnapshotArchives } from './adapters/snapshot-archives/archives.ts';
import { lockHome } from './adapters/store-sqlite/home-lock.ts';
import { openSqliteStore } from './adapters/store-sqlite/store.ts';
import { SandboxerError } from './domain/errors.ts';
import { LIMITS } from './domain/limits.ts';
import { Bus } from './engine/bus.ts';
import { Captures } from './engine/captures.ts';
import type { EngineContext, EngineSettings } from './engine/context.ts';
import { Engine } from './engine/engine.ts';
import { HostStates } from './engine/host-states.ts';
import { RoutingMemory } from './engine/routing-memory.ts';
import { removeSnapshotLeftovers } from './engine/snapshot-removal.ts';
import { EXTENSIONS } from './extensions/registry.gen.ts';
import type { Installation } from './operations/operation.ts';
import type { Clock } from './ports/clock.ts';
import { type CrashPoints, NO_CRASH_POINTS } from './ports/crash-points.ts';
import type { ExtensionContext } from './ports/extension.ts';
import { type Log, SILENT_LOG } from './ports/log.ts';
import type { Store } from './ports/store.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

const PACKAGE_ROOT = dirname(import.meta.dirname);

export interface ComposeOptions {
  readonly environment: Environment;
  readonly log?: Log;
  readonly crashPoints?: CrashPoints;
  readonly settings?: Partial<EngineSettings>;
  /** The system's, anchored to this boot, unless said. */
  readonly clock?: Clock;
  /** How long to wait for another process that uses the home; 0 fails at once. */
  readonly lockWaitMs?: number;
  /** The backends there are; those that ship unless said. */
  readonly installed?: readonly InstalledExtension[];
  /** A server: spends some milliseconds now for faster commits later. */
  readonly staysUp?: boolean;
  /** Called once when the store can no longer be believed. */
  readonly onFatal?: (cause: unknown) => void;
}

export interface Composed {
  readonly engine: Engine;
  readonly home: Home;
  readonly installation: Installation;
  /** Stops the engine and gives the home free, but leaves open sessions open. Safe to repeat. */
  detach(): Promise<void>;
  /** Stops the engine, gives the home free and closes the extensions. Safe to repeat. */
  close(): Promise<void>;
}

export function packageVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8'));
  return (manifest as { version: string }).version;
}

function positiveInteger(environment: Environment, name: string, fallback: number): number {
  const text = environment[name];
  if (text === undefined || text === '') return fallback;
  if (/^[1-9][0-9]{0,8}$/.test(text)) return Number(text);
  throw new SandboxerError(
    'invalid_request',
    `${name} must be a positive whole number, and is "${text.slice(0, 40)}".`,
  );
}

/** An alias wins over a port: it says how to use the port. */
function tunnelFrom(environment: Environment): string | null {
  const { SANDBOXER_TUNNEL_ALIAS: alias, SANDBOXER_TUNNEL_PORT: port } = environment;
  if (alias !== undefined && alias !== '') return alias;
  return port === undefined || port === ''
    ? null
    : `localhost:${positiveInteger(environment, 'SANDBOXER_TUNNEL_PORT', 0)}`;
}

function settingsFrom(environment: Environment): EngineSettings {
  return {
    slotsPerExtension: positiveInteger(environment, 'SANDBOXER_SLOTS', LIMITS.slotsDefault),
    forceCloud: environment.SANDBOXER_FORCE_SAAS === '1',
    tunnel: tunnelFrom(environment),
    observationTimeoutMs: LIMITS.observationTimeoutMs,
    ownDeadlineMarginMs: LIMITS.ownDeadlineMarginMs,
    reconcileIntervalMs: LIMITS.reconcileIntervalMs,
    sweepIntervalMs: LIMITS.sweepIntervalMs,
    sweepGraceMs: LIMITS.sweepGraceMs,
    sweepSightingGapMs: LIMITS.sweepSightingGapMs,
  };
}

/** The shipped catalog first; a home's and the user's own profiles win over it. */
export function profileDirectories(environment: Environment, home: string): readonly string[] {
  const own = (environment.SANDBOXER_PROFILES ?? '').split(':').filter((path) => path !== '');
  return [join(PACKAGE_ROOT, 'profiles'), join(home, 'profiles'), ...own];
}

function installedExtensions(): readonly InstalledExtension[] {
  return Object.values(EXTENSIONS).map(({ manifest: { id, title, description, endsWithMachine }, load }) => ({
    summary: { id, title, description, endsWithMachine },
    load,
  }));
}

function openHosts(store: Store, home: Home, clock: Clock, environment: Environment) {
  const { SANDBOXER_SSH_CONFIG: configFile } = environment;
  const links = createLazyLinks(async () => {
    const { createHostLinks } = await import('./adapters/host-links/links.ts');
    const options = { directory: join(home.directory, 'links'), clock, environment };
    return createHostLinks(configFile === undefined ? options : { ...options, configFile });
  });
  const file = join(home.directory, 'hosts.yaml');
  return { links, hosts: createHostDirectory({ store, file, environment, links }) };
}

/**
 * Opens the home, takes its lock, and puts an engine together. The loops are not running yet. Rejects with
 * `home_locked`, `store_newer` or `store_unavailable`, having let go of everything.
 */
export async function compose(options: ComposeOptions): Promise<Composed> {
  const { environment } = options;
  const home = openHome(environment);
  const clock = options.clock ?? createSystemClock(clockAnchor(home.directory));
  const lock = await lockHome(home.directory, clock, options.lockWaitMs ?? LIMITS.lockWaitMs);
  try {
    const settings = { ...settingsFrom(environment), ...options.settings };
    const store = openSqliteStore(home.directory, {
      ...(options.onFatal === undefined ? {} : { onFatal: options.onFatal }),
      ...(options.staysUp ? { journal: { clock } } : {}),
    });
    const { hosts, links } = openHosts(store, home, clock, environment);
    const contextOf = (id: string): ExtensionContext => ({
      directory: home.extensionDirectory(id),
      secret: home.secret,
      clock,
      entropy: SYSTEM_ENTROPY,
      environment,
      hosts,
    });
    const context: EngineContext = {
      store,
      clock,
      entropy: SYSTEM_ENTROPY,
      extensions: createLazyRegistry(options.installed ?? installedExtensions(), contextOf),
      hosts,
      hostStates: new HostStates(clock),
      profiles: new YamlProfileSource(profileDirectories(environment, home.directory)),
      crashPoints: options.crashPoints ?? NO_CRASH_POINTS,
      log: options.log ?? SILENT_LOG,
      bus: new Bus(),
      routing: new RoutingMemory(),
      snapshots: createSnapshotArchives(join(home.directory, 'snapshots')),
      captures: new Captures(),
      settings,
    };
    await removeSnapshotLeftovers(context);
    const engine = new Engine(context);
    let detached: Promise<void> | null = null;
    const detach = () => {
      detached ??= engine.letGo().then(() => lock.release());
      return detached;
    };
    return {
      engine,
      home,
      installation: installation(context, home, environment),
      detach,
      async close() {
        await engine.stop();
        await links.close();
        await detach();
      },
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

function installation(context: EngineContext, home: Home, environment: Environment): Installation {
  return {
    version: packageVersion(),
    home: home.directory,
    inputRoots: (environment.SANDBOXER_INPUT_ROOTS ?? '').split(':').filter((path) => path !== ''),
    diagnose: (signal) => diagnose(context, home.directory, signal),
  };
}
