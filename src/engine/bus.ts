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

/** Tells faces and metrics what was committed, after it was. Listeners must not throw. */
export class Bus {
  readonly #committed = new Set<(committed: Committed) => void>();
  readonly #progress = new Set<(progress: Progress) => void>();

  onCommitted(listener: (committed: Committed) => void): () => void {
    this.#committed.add(listener);
    return () => this.#committed.delete(listener);
  }

  onProgress(listener: (progress: Progress) => void): () => void {
    this.#progress.add(listener);
    return () => this.#progress.delete(listener);
  }

  committed(committed: Committed): void {
    for (const listener of this.#committed) listener(committed);
  }

  progress(progress: Progress): void {
    for (const listener of this.#progress) listener(progress);
  }
}
