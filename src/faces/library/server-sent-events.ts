import { SandboxerError } from '../../domain/errors.ts';
import { LIMITS } from '../../domain/limits.ts';

/** The `data` of each server-sent event, in order. An event larger than a request body may be is refused. */
export async function* parseServerSentEvents(source: AsyncIterable<Uint8Array>): AsyncIterable<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of source) {
    rest += decoder.decode(chunk, { stream: true });
    const blocks = rest.split('\n\n');
    rest = blocks.pop() ?? '';
    if (rest.length > LIMITS.requestBodyBytes) {
      throw new SandboxerError('server_unreachable', 'The server sent an event that never ends.');
    }
    for (const block of blocks) {
      const data = block
        .split('\n')
        .filter((line) => line.startsWith('data: '))
        .map((line) => line.slice(6));
      if (data.length > 0) yield data.join('\n');
    }
  }
}
