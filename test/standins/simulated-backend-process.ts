/** The program of the simulated backend: `node simulated-backend-process.ts <directory> <socket>`. */
import { join } from 'node:path';
import { createSystemClock } from '../../src/adapters/clock/system-clock.ts';
import { SYSTEM_ENTROPY } from '../../src/adapters/entropy/system-entropy.ts';
import { serveBackend } from '../../src/extensions/simulated/backend/process.ts';
import { createService } from '../../src/extensions/simulated/backend/service.ts';
import { Truth } from '../../src/extensions/simulated/backend/truth.ts';

const [directory, socketPath] = process.argv.slice(2);
if (directory === undefined || socketPath === undefined) throw new Error('needs a directory and a socket');

const truth = new Truth(join(directory, 'truth.sqlite'));
const backend = createService({
  truth,
  clock: createSystemClock(),
  entropy: SYSTEM_ENTROPY,
  faultsFile: join(directory, 'faults.yaml'),
});
const running = await serveBackend(backend, truth, socketPath);
process.once('SIGTERM', () => {
  running.close().then(
    () => process.exit(0),
    () => process.exit(1),
  );
});
process.stdout.write('listening\n');
