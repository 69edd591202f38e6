/** The two ways to the backend: over a Unix socket to its own process, or inside this process over the same file. */
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import type { ExtensionContext } from '../../ports/extension.ts';
import { createService } from './backend/service.ts';
import { Truth } from './backend/truth.ts';
import type { SimulatedConfiguration } from './config.ts';
import { type SimulatedBackend, WIRE_BODY_BYTES_MAX, type WireOutcome, type WireRequest } from './wire.ts';

export function connectBackend(
  context: ExtensionContext,
  configuration: SimulatedConfiguration,
): SimulatedBackend {
  if (configuration.socketPath !== null) return overSocket(configuration.socketPath);
  return createService({
    truth: new Truth(configuration.file),
    clock: context.clock,
    entropy: context.entropy,
    faultsFile: join(context.directory, 'faults.yaml'),
  });
}

function overSocket(socketPath: string): SimulatedBackend {
  return {
    call: (request, signal) => callSocket(socketPath, request, signal),
    close: async () => undefined,
  };
}

function callSocket(socketPath: string, wire: WireRequest, signal: AbortSignal): Promise<WireOutcome> {
  if (signal.aborted) return Promise.resolve({ kind: 'silence' });
  const { verb, ...rest } = wire;
  const body = JSON.stringify(rest);
  return new Promise((resolve) => {
    const failed = (error: NodeJS.ErrnoException) => {
      if (signal.aborted) resolve({ kind: 'silence' });
      else resolve({ kind: error.code === 'ECONNREFUSED' || error.code === 'ENOENT' ? 'refused' : 'reset' });
    };
    const request = httpRequest({
      socketPath,
      path: `/${verb}`,
      method: 'POST',
      agent: false,
      signal,
      headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
    });
    request.once('error', failed);
    request.once('response', (response) => {
      const chunks: Buffer[] = [];
      let sizeBytes = 0;
      response.on('data', (chunk: Buffer) => {
        sizeBytes += chunk.length;
        chunks.push(chunk);
        if (sizeBytes <= WIRE_BODY_BYTES_MAX) return;
        resolve({ kind: 'oversized' });
        request.destroy();
      });
      response.once('error', failed);
      response.once('end', () => {
        const headers: Record<string, string> = {};
        for (const [key, value] of Object.entries(response.headers)) headers[key] = String(value);
        const text = Buffer.concat(chunks).toString('utf8');
        resolve({ kind: 'reply', reply: { status: response.statusCode ?? 0, headers, body: text } });
      });
    });
    request.end(body);
  });
}
