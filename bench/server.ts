/**
 * The server under test, as a process of its own: `node bench/server.ts [--stub] [--no-loops]`, with SANDBOXER_HOME.
 * Prints one line of JSON when it serves. It does what `sandboxer serve` does; `--stub` puts the stub backend in.
 */
import { createJsonLog } from '../src/adapters/log/json-log.ts';
import { serveHttp } from '../src/faces/http/server.ts';
import { compose } from '../src/main.ts';
import { STUB } from './stub-extension.ts';

const composed = await compose({
  environment: process.env,
  log: createJsonLog(),
  staysUp: true,
  ...(process.argv.includes('--stub') ? { installed: [STUB] } : {}),
});
const server = await serveHttp(composed);
if (!process.argv.includes('--no-loops')) composed.engine.startLoops();
console.log(JSON.stringify({ url: server.url, socket: server.socketPath, pid: process.pid }));
process.once('SIGTERM', async () => {
  await server.close();
  await composed.close();
  process.exit(0);
});
