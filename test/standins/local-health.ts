/** Prints the health of ext.local as JSON, in a process of its own: what surrounds it may forbid what it needs. */
import { createExtension } from '../../src/extensions/local/extension.ts';
import { localContext } from './local-harness.ts';

const extension = await createExtension(localContext(process.argv[2]!));
console.log(JSON.stringify(await extension.health(new AbortController().signal)));
await extension.close();
