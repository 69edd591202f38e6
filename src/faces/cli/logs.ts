import { brokenSession, withOpened } from './sessions.ts';
import type { Values } from './spec.ts';
import { isReaderGone, type Terminal } from './terminal.ts';

/** What detached commands wrote, byte for byte. */
export async function runLogs(values: Values, terminal: Terminal): Promise<number> {
  return withOpened(
    (transport) => transport.download('logs', values),
    async (chunks) => {
      try {
        for await (const chunk of chunks) await terminal.out(chunk);
      } catch (error) {
        throw isReaderGone(error) ? error : brokenSession(error, String(values.id));
      }
      return 0;
    },
  );
}
