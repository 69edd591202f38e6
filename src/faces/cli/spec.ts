/** The light form of a command: enough for help, completion and parsing, with nothing to load. */

export type FlagKind = 'boolean' | 'negated' | 'text' | 'number' | 'record' | 'list';

export interface FlagSpec {
  /** The field of the operation's input. */
  readonly field: string;
  /** As it is typed, e.g. `--ttl <duration>`. */
  readonly flag: string;
  readonly kind: FlagKind;
  readonly description: string;
  readonly required: boolean;
  readonly default: string | null;
  readonly choices: readonly string[];
}

export interface ArgumentSpec {
  readonly field: string;
  readonly description: string;
  readonly variadic: boolean;
  readonly required: boolean;
  readonly kind: 'text' | 'number';
}

export interface CommandSpec {
  /** A name of the operation table, or the command's own name where it is the command line's own. */
  readonly operation: string;
  readonly words: readonly string[];
  readonly summary: string;
  readonly shape: 'call' | 'exec' | 'download' | 'upload' | 'events' | 'tunnel' | 'own';
  readonly arguments: readonly ArgumentSpec[];
  readonly flags: readonly FlagSpec[];
  readonly examples: readonly string[];
}

/** What was typed, by field. Absent flags are absent here. */
export type Values = Record<string, unknown>;
