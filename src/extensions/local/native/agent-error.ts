import type { AgentErrorCode } from './wire.ts';

/**
 * Why a request to the agent failed. Beyond the agent's own codes: `unreachable`, nothing listens on the socket;
 * `disconnected`, the connection ended before the answer; `protocol`, the answer makes no sense; `aborted`.
 */
export type AgentFailure = AgentErrorCode | 'unreachable' | 'disconnected' | 'protocol' | 'aborted';

export class AgentError extends Error {
  readonly code: AgentFailure;

  constructor(code: AgentFailure, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'AgentError';
    this.code = code;
  }
}

const UNREACHABLE = new Set(['ECONNREFUSED', 'ENOENT']);

function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

export function fromSocketError(error: unknown): AgentError {
  if (error instanceof AgentError) return error;
  const code = UNREACHABLE.has(errorCode(error)) ? 'unreachable' : 'disconnected';
  const text =
    code === 'unreachable' ? 'no agent listens on the socket' : 'the connection to the agent broke';
  return new AgentError(code, text, { cause: error });
}
