import type { Extension } from './extension.ts';

export interface ExtensionSummary {
  readonly id: string;
  readonly title: string;
  readonly description: string;
  /** A crash of this machine ends every sandbox of it, so an intent need not outlive one. */
  readonly endsWithMachine: boolean;
}

/** The installed extensions. Loading one runs its code for the first time, so it is done only when used. */
export interface ExtensionRegistry {
  summaries(): readonly ExtensionSummary[];
  has(id: string): boolean;
  /** False where it is not installed. */
  endsWithMachine(id: string): boolean;
  /** Rejects with `unknown_extension`. */
  load(id: string): Promise<Extension>;
  close(): Promise<void>;
}
