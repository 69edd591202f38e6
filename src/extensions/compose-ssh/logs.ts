/** What every service of a stack said, oldest first within each. */
import type { PlacedStack } from './sessions.ts';

const LINES = '2000';
/** $1 engine, $2 name, $3 lines. */
const LOGS = `
engine=$1 name=$2 lines=$3
"$engine" ps -aq --filter "label=sandboxer.name=$name" | while read -r container; do
  service=$("$engine" inspect --format '{{index .Config.Labels "com.docker.compose.service"}}' "$container")
  "$engine" logs --tail "$lines" "$container" 2>&1 | sed "s/^/$service | /"
done
`;

export async function followLogs(
  { client, name }: PlacedStack,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  const { engine } = await client.engine(signal);
  const command = ['sh', '-c', LOGS, 'sh', engine, name, LINES];
  const running = await client.link.start({ command, signal });
  running.stdin.end();
  running.stderr.resume();
  running.exit.catch(() => undefined); // the end of its output tells
  return running.stdout as AsyncIterable<Uint8Array>;
}
