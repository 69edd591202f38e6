import type { Log } from '../../ports/log.ts';

/** One JSON object a line, on the given stream (standard error unless said). */
export function createJsonLog(
  write: (line: string) => void = (line) => void process.stderr.write(line),
): Log {
  const line =
    (level: string) =>
    (message: string, fields: Readonly<Record<string, unknown>> = {}) =>
      write(`${JSON.stringify({ at: new Date().toISOString(), level, message, ...fields })}\n`);
  return { info: line('info'), warn: line('warn'), error: line('error') };
}
