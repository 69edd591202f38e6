/** Builds the agent of the local sandbox into `build/`, where it is not built yet. */
import { join } from 'node:path';
import { buildAgent } from '../src/extensions/local/native/build.ts';

await buildAgent({ cacheDir: join(import.meta.dirname, '..', 'build') });
