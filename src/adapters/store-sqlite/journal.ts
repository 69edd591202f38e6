import { randomInt } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import type { Clock } from '../../ports/clock.ts';
import type { Statement } from './connection.ts';
import { type Flusher, LogFlusher } from './flush.ts';
import { QuickFlusher } from './quick-flush.ts';

/** The length of the body, the checksum of what follows it, and the number of the entry; the body is JSON. */
const HEADER_BYTES = 16;
const CHECKED_FROM = 8;
const HALF_BYTES = 512 * 1024;
const HALVES = 2;
/** `randomInt` draws from fewer than this many. */
const NUMBERS = 2 ** 48 - 1;

/** What one batch of units wrote. */
export interface Entry {
  readonly number: number;
  readonly statements: readonly Statement[];
}

function encode({ number, statements }: Entry): Buffer {
  const body = JSON.stringify(statements);
  const entry = Buffer.allocUnsafe(HEADER_BYTES + Buffer.byteLength(body));
  entry.writeUInt32LE(entry.length - HEADER_BYTES, 0);
  entry.writeDoubleLE(number, CHECKED_FROM);
  entry.write(body, HEADER_BYTES);
  entry.writeUInt32LE(crc32(entry.subarray(CHECKED_FROM)), 4);
  return entry;
}

/** Number and body of those at the beginning of a half that were written whole. */
function* entriesOf(half: Buffer): Generator<readonly [number: number, body: Buffer]> {
  for (let at = 0; at + HEADER_BYTES < half.length; ) {
    const end = at + HEADER_BYTES + half.readUInt32LE(at);
    const checked = half.subarray(at + CHECKED_FROM, end);
    if (end > half.length || crc32(checked) !== half.readUInt32LE(at + 4)) return;
    yield [half.readDoubleLE(at + CHECKED_FROM), half.subarray(at + HEADER_BYTES, end)];
    at = end;
  }
}

/** What a database that has seen the entry `last` has not seen yet, in order. */
export function readJournal(path: string, last: number): readonly Entry[] {
  if (!existsSync(path)) return [];
  const file = readFileSync(path);
  const bodies = new Map<number, Buffer>();
  for (let start = 0; start < file.length; start += HALF_BYTES) {
    for (const [number, body] of entriesOf(file.subarray(start, start + HALF_BYTES)))
      bodies.set(number, body);
  }
  const following: Entry[] = [];
  for (let number = last + 1; bodies.has(number); number += 1) {
    const statements: readonly Statement[] = JSON.parse(String(bodies.get(number)));
    following.push({ number, statements });
  }
  return following;
}

/**
 * Where no journal has begun yet: an entry that an earlier process left, or another database, never seems to follow
 * one of this process.
 */
export function newJournalStart(): number {
  return randomInt(NUMBERS);
}

/**
 * Keeps what was written since SQLite's last commit, so that many units of work share one. It has two halves: while
 * what one holds is being flushed as part of the database, the other is written.
 */
export class Journal {
  /** Makes what was appended survive a power cut. */
  readonly flusher: Flusher;
  readonly #descriptor: number;
  readonly #isFree = Array.from({ length: HALVES }, () => true);
  #half = 0;
  #usedBytes = 0;
  #last: number;

  /** The database has seen the entry `last`, and a power cut cannot take that back. */
  constructor(path: string, last: number, clock: Clock) {
    this.#last = last;
    this.#descriptor = openSync(path, existsSync(path) ? 'r+' : 'w+', 0o600);
    this.flusher = new QuickFlusher(new LogFlusher(path, HALVES * HALF_BYTES), clock);
  }

  /** The number of the last entry. */
  get last(): number {
    return this.#last;
  }

  /** How much of the half that is being written is. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** What was appended survives the end of this process. False, with nothing written, where there is no room. */
  append(statements: readonly Statement[]): boolean {
    if (!this.#isFree[this.#half]) return false;
    const entry = encode({ number: this.#last + 1, statements });
    if (this.#usedBytes + entry.length > HALF_BYTES) return false;
    const at = this.#half * HALF_BYTES + this.#usedBytes;
    if (writeSync(this.#descriptor, entry, 0, entry.length, at) < entry.length) return false;
    this.#usedBytes += entry.length;
    this.#last += 1;
    return true;
  }

  /** The database has all that was appended; call what this returns once a power cut cannot take that back. */
  turn(): () => void {
    const left = this.#half;
    this.#isFree[left] = false;
    this.#half = (left + 1) % HALVES;
    this.#usedBytes = 0;
    return () => {
      this.#isFree[left] = true;
    };
  }

  close(): void {
    this.flusher.close();
    closeSync(this.#descriptor);
  }
}
