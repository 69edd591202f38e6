import { backendName } from '../domain/ids.ts';
import type { StepName } from '../domain/sandbox/runs.ts';
import type { Extension, Reference } from '../ports/extension.ts';
import type { RunRecord, SandboxRecord } from '../ports/store.ts';
import type { EngineContext } from './context.ts';
import type { Change } from './record.ts';

export interface StepInput {
  readonly engine: EngineContext;
  readonly extension: Extension;
  readonly record: SandboxRecord;
  readonly run: RunRecord;
  readonly signal: AbortSignal;
}

/** `provisional`: what was learnt can be found again by name, so it waits for the next step's commit. */
export interface StepResult {
  readonly change: Change;
  readonly provisional: boolean;
}

export interface Step {
  /** What people read while it runs. */
  readonly label: string;
  perform(input: StepInput): Promise<StepResult>;
}

export type StepTable = Readonly<Record<StepName, Step>>;

export function referenceOf(record: SandboxRecord): Reference {
  return {
    name: backendName(record.id, record.epoch),
    epoch: record.epoch,
    handle: record.handle,
    host: record.spec.placement.host,
  };
}

/** Thrown by a step that is not done yet: the runner waits and performs it again. */
export class NotYet extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'NotYet';
  }
}
