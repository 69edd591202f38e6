import type { SandboxRecord } from '../../ports/store.ts';
import type { Row } from './connection.ts';
import { sandboxFromRow } from './rows.ts';

/** As many as a busy server works on at once; a record is some kilobytes. */
const CAPACITY = 512;

function trim(records: Map<string, SandboxRecord>): void {
  for (const id of records.keys()) {
    if (records.size <= CAPACITY) return;
    records.delete(id);
  }
}

/**
 * The records written last, so that one in the middle of its life is not read and parsed again for each step. It
 * holds because one process writes a home, and all its writes pass here.
 */
export class RecordCache {
  readonly #committed = new Map<string, SandboxRecord>();
  /** Written in the transaction that is open. */
  readonly #pending = new Map<string, SandboxRecord>();
  /** Of the pages read last: people look at the same ones again and again. */
  readonly #listed = new Map<string, SandboxRecord>();

  /** As the open transaction sees it; undefined says nothing. */
  current(id: string): SandboxRecord | undefined {
    return this.#pending.get(id) ?? this.#committed.get(id);
  }

  /** As everybody sees it; undefined says nothing. */
  committed(id: string): SandboxRecord | undefined {
    return this.#committed.get(id);
  }

  write(record: SandboxRecord): void {
    this.#committed.delete(record.id);
    this.#pending.set(record.id, record);
  }

  /** What was written is now what everybody sees. */
  commit(): void {
    for (const [id, record] of this.#pending) this.#committed.set(id, record);
    this.#pending.clear();
    trim(this.#committed);
  }

  /** Records of a page: each as known in the version that was found, or as its row is parsed now. */
  listed(rows: readonly Row[]): readonly SandboxRecord[] {
    const records = rows.map((row) => {
      const id = String(row.id);
      const known = this.#committed.get(id) ?? this.#listed.get(id);
      return known !== undefined && known.version === row.version ? known : sandboxFromRow(row);
    });
    for (const record of records) this.#listed.set(record.id, record);
    trim(this.#listed);
    return records;
  }

  /** Forgets what was written, by others in the same transaction too: the store is asked again. */
  rollBack(): void {
    this.#pending.clear();
  }
}
