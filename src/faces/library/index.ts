/** The door `sand-boxer`: establish and use sandboxes from TypeScript. */
export { ERROR_REGISTRY, type ErrorCode, type Problem, SandboxerError } from '../../domain/errors.ts';
export type { EventView, SandboxView } from '../../operations/view.ts';
export type { ExecExit, ExecOutput, ExecSession } from '../../ports/extension.ts';
export type { ConnectOptions } from './connect.ts';
export { type RunOptions, type RunResult, Sandbox, Sandboxer } from './sandboxer.ts';
