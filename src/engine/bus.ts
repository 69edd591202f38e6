import type { SandboxerError } from '../domain/errors.ts';
import type { EventRecord, NewEvent, SandboxRecord } from '../ports/store.ts';

/** A step that began: progress for people, not stored. */
export interface Progress {
  readonly sandboxId: string;
  readonly step: string;
  readonly attempt: number;
}

export interface Committed {
  readonly before: SandboxRecord | null;
  readonly record: SandboxRecord;
  readonly events: readonly (NewEvent & Pick<EventRecord, 'sequence' | 'atMs'>)[];
}

/** A run is not driven any more, though it is not done: the store failed, or a defect. */
export interface Stopped {
  readonly sandboxId: string;
  readonly error: SandboxerError;
}

/** Tells faces and metrics what was committed, after it was. Listeners must not throw. */
export class Bus {
  readonly #committed = new Set<(committed: Committed) => void>();
  readonly #progress = new Set<(progress: Progress) => void>();
  readonly #stopped = new Set<(stopped: Stopped) => void>();
  readonly #underWay = new Map<string, Progress>();

  onCommitted(listener: (committed: Committed) => void): () => void {
    this.#committed.add(listener);
    return () => this.#committed.delete(listener);
  }

  onProgress(listener: (progress: Progress) => void): () => void {
    this.#progress.add(listener);
    return () => this.#progress.delete(listener);
  }

  onStopped(listener: (stopped: Stopped) => void): () => void {
    this.#stopped.add(listener);
    return () => this.#stopped.delete(listener);
  }

  /** The step that is under way on a sandbox, for somebody who begins to listen in the middle. */
  stepUnderWay(sandboxId: string): Progress | null {
    return this.#underWay.get(sandboxId) ?? null;
  }

  committed(committed: Committed): void {
    if (committed.record.run === null) this.#underWay.delete(committed.record.id);
    for (const listener of this.#committed) listener(committed);
  }

  progress(progress: Progress): void {
    this.#underWay.set(progress.sandboxId, progress);
    for (const listener of this.#progress) listener(progress);
  }

  stopped(stopped: Stopped): void {
    this.#underWay.delete(stopped.sandboxId);
    for (const listener of this.#stopped) listener(stopped);
  }
}
