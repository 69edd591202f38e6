/** A plain HTTP client over a Unix socket with kept connections; the same for every contender. */
import { Agent, request as httpRequest } from 'node:http';

export interface Answer {
  readonly status: number;
  readonly body: Buffer;
}

export class SocketClient {
  readonly #path: string;
  readonly #agent: Agent;

  constructor(path: string, connectionsMax = 256) {
    this.#path = path;
    this.#agent = new Agent({ keepAlive: true, maxSockets: connectionsMax });
  }

  send(method: string, path: string, body?: Buffer | AsyncIterable<Uint8Array>, type = 'application/json') {
    return new Promise<Answer>((resolve, reject) => {
      const headers: Record<string, string | number> = { host: 'localhost', 'content-type': type };
      if (Buffer.isBuffer(body)) headers['content-length'] = body.length;
      const options = { socketPath: this.#path, agent: this.#agent, method, path, headers };
      const request = httpRequest(options, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) }));
        response.on('error', reject);
      });
      request.on('error', reject);
      if (body === undefined || Buffer.isBuffer(body)) request.end(body);
      else void pour(body, request);
    });
  }

  /** JSON in, JSON out; rejects on anything but success. */
  async json<Result>(method: string, path: string, body?: unknown): Promise<Result> {
    const answer = await this.send(
      method,
      path,
      body === undefined ? undefined : Buffer.from(JSON.stringify(body)),
    );
    const text = answer.body.toString('utf8');
    if (answer.status >= 400) throw new Error(`${method} ${path}: ${answer.status} ${text.slice(0, 300)}`);
    return (text === '' ? null : JSON.parse(text)) as Result;
  }

  close(): void {
    this.#agent.destroy();
  }
}

async function pour(source: AsyncIterable<Uint8Array>, target: NodeJS.WritableStream): Promise<void> {
  for await (const chunk of source) {
    if (!target.write(chunk)) await new Promise<void>((resolve) => target.once('drain', () => resolve()));
  }
  target.end();
}
