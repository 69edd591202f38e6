import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectTransport, findServer } from '../library/connect.ts';
import type { Terminal } from './terminal.ts';

function ownVersion(): { version: string; node: string; platform: string } {
  const path = join(import.meta.dirname, '..', '..', '..', 'package.json');
  const { version } = JSON.parse(readFileSync(path, 'utf8')) as { version: string };
  return { version, node: process.version, platform: `${process.platform}-${process.arch}` };
}

/** The server's version where there is one, else our own; needs no home. */
async function answeringVersion(): Promise<{ version: string; node: string; platform: string }> {
  if ((await findServer(process.env)) === null) return ownVersion();
  const transport = await connectTransport();
  try {
    return await transport.call('version', {});
  } finally {
    await transport.close();
  }
}

export async function runVersion(terminal: Terminal): Promise<number> {
  const answer = await answeringVersion();
  if (terminal.json) await terminal.outJson(answer);
  else await terminal.out(`sandboxer ${answer.version} (Node ${answer.node}, ${answer.platform})\n`);
  return 0;
}
