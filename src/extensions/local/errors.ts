import { ExtensionError, type ExtensionErrorKind } from '../../ports/extension.ts';
import { AgentError, type AgentFailure } from './native/agent-error.ts';

const KINDS: Readonly<Record<AgentFailure, ExtensionErrorKind>> = {
  invalid: 'invalid',
  unauthenticated: 'bug',
  not_found: 'invalid',
  denied: 'invalid',
  exists: 'invalid',
  unsupported: 'unsupported',
  busy: 'capacity',
  limit: 'invalid',
  io: 'invalid',
  internal: 'bug',
  unreachable: 'transient',
  disconnected: 'transient',
  protocol: 'bug',
  aborted: 'transient',
};

/** What the agent said, as a kind of the contract. The agent's texts are made for people and hold no values. */
export function fromAgent(error: unknown): unknown {
  if (!(error instanceof AgentError)) return error;
  return new ExtensionError(KINDS[error.code], `${error.message}.`, { cause: error });
}

function systemCode(error: unknown): string | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;
}

/** A failed file operation of ours while a sandbox is made. */
export function fromSystem(error: unknown, doing: string): unknown {
  if (error instanceof ExtensionError || error instanceof AgentError) return fromAgent(error);
  if (error instanceof Error && ['AbortError', 'TimeoutError'].includes(error.name)) {
    return new ExtensionError('ambiguous', `${doing} was given up.`, { cause: error });
  }
  const code = systemCode(error);
  if (code === null) return error;
  const kind: ExtensionErrorKind = code === 'ENOSPC' || code === 'EDQUOT' ? 'capacity' : 'bug';
  const reason = code === 'ENOSPC' ? 'the disk is full' : code;
  return new ExtensionError(kind, `${doing} failed: ${reason}.`, { cause: error });
}

export function isMissing(error: unknown): boolean {
  return systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR';
}
