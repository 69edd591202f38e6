/**
 * The server under test, as a process of its own: `node bench/server.ts [--stub] [--no-loops]`, with SANDBOXER_HOME.
 * Prints one line of JSON when it serves. It does what `sandboxer serve` does; `--stub` puts the stub backend in.
 */
import { createSystemClock } from '../src/adapters/clock/system-clock.ts';
import { SYSTEM_ENTROPY } from '../src/adapters/entropy/system-entropy.ts';
import { createLazyRegistry } from '../src/adapters/extension-registry/lazy-registry.ts';
import { clockAnchor, openHome } from '../src/adapters/home/home.ts';
import { createJsonLog } from '../src/adapters/log/json-log.ts';
import { YamlProfileSource } from '../src/adapters/profiles-yaml/source.ts';
import { lockHome } from '../src/adapters/store-sqlite/home-lock.ts';
import { openSqliteStore } from '../src/adapters/store-sqlite/store.ts';
import { LIMITS } from '../src/domain/limits.ts';
import { Bus } from '../src/engine/bus.ts';
import { Engine } from '../src/engine/engine.ts';
import { RoutingMemory } from '../src/engine/routing-memory.ts';
import { serveHttp } from '../src/faces/http/server.ts';
import { type Composed, compose, packageVersion, profileDirectories } from '../src/main.ts';
import { NO_CRASH_POINTS } from '../src/ports/crash-points.ts';
import { createExtension, STUB_ID } from './stub-extension.ts';

const log = createJsonLog();

/** What `compose` does, with one extension that is not shipped. */
async function composeStub(): Promise<Composed> {
  const environment = process.env;
  const home = openHome(environment);
  const clock = createSystemClock(clockAnchor(home.directory));
  const lock = await lockHome(home.directory, clock, LIMITS.lockWaitMs);
  const summary = { id: STUB_ID, title: 'Nothing', description: 'Answers at once.' };
  const engine = new Engine({
    store: openSqliteStore(home.directory),
    clock,
    entropy: SYSTEM_ENTROPY,
    extensions: createLazyRegistry([{ summary, load: async () => ({ createExtension }) }], (id) => ({
      directory: home.extensionDirectory(id),
      secret: home.secret,
      clock,
      entropy: SYSTEM_ENTROPY,
      environment,
    })),
    profiles: new YamlProfileSource(profileDirectories(environment, home.directory)),
    crashPoints: NO_CRASH_POINTS,
    log,
    bus: new Bus(),
    routing: new RoutingMemory(),
    settings: {
      slotsPerExtension: Number(environment.SANDBOXER_SLOTS ?? LIMITS.slotsDefault),
      forceCloud: false,
      observationTimeoutMs: LIMITS.observationTimeoutMs,
      ownDeadlineMarginMs: LIMITS.ownDeadlineMarginMs,
      reconcileIntervalMs: LIMITS.reconcileIntervalMs,
      sweepIntervalMs: LIMITS.sweepIntervalMs,
      sweepGraceMs: LIMITS.sweepGraceMs,
      sweepSightingGapMs: LIMITS.sweepSightingGapMs,
    },
  });
  const detach = async () => {
    await engine.letGo();
    lock.release();
  };
  return {
    engine,
    home,
    installation: {
      version: packageVersion(),
      home: home.directory,
      inputRoots: [],
      diagnose: async () => [],
    },
    detach,
    async close() {
      await engine.stop();
      lock.release();
    },
  };
}

const composed = process.argv.includes('--stub')
  ? await composeStub()
  : await compose({ environment: process.env, log, staysUp: true });
const server = await serveHttp({
  engine: composed.engine,
  installation: composed.installation,
  socketPath: composed.home.socketPath,
  tokenPath: composed.home.tokenPath,
  host: '127.0.0.1',
  port: 0,
  allowedHosts: [],
  allowPlainHttp: false,
});
if (!process.argv.includes('--no-loops')) composed.engine.startLoops();
console.log(JSON.stringify({ url: server.url, socket: server.socketPath, pid: process.pid }));
process.once('SIGTERM', async () => {
  await server.close();
  await composed.close();
  process.exit(0);
});
