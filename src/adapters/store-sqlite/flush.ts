import { closeSync, fdatasync, fdatasyncSync, fstatSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** Makes what was committed survive a power cut. */
export interface Flusher {
  /** Resolves once everything committed before the call is on the disk. */
  flush(): Promise<void>;
  close(): void;
}

export const NO_FLUSH: Flusher = { flush: async () => undefined, close: () => undefined };

/**
 * Flushes a file from another thread. What `synchronous = FULL` does inside each of SQLite's commits, with the event
 * loop held still for as long as the disk takes, happens here while it goes on; commits that come in the meantime
 * share the next flush.
 */
export class LogFlusher implements Flusher {
  readonly #descriptor: number;
  #running: Promise<void> | null = null;
  #next: Promise<void> | null = null;
  /** After a failed flush the kernel may call the lost pages clean: no later success means anything. */
  #failure: Error | null = null;

  /**
   * The file must exist; its directory entry is made durable here, once. So is space for `reservedBytes`: overwriting
   * what is there flushes in half the time of growing.
   */
  constructor(path: string, reservedBytes = 0) {
    this.#descriptor = openSync(path, 'r+');
    this.#reserve(reservedBytes);
    const directory = openSync(dirname(path), 'r');
    fsyncSync(directory);
    closeSync(directory);
  }

  flush(): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    if (this.#running === null) {
      this.#running = this.#sync().finally(() => {
        this.#running = null;
      });
      return this.#running;
    }
    this.#next ??= this.#running
      .catch(() => undefined) // told to those who waited for it
      .then(() => {
        this.#next = null;
        return this.flush();
      });
    return this.#next;
  }

  /** The same, held still for it. Throws where it fails. */
  flushHere(): void {
    if (this.#failure !== null) throw this.#failure;
    try {
      fdatasyncSync(this.#descriptor);
    } catch (error) {
      this.#failure = error as Error;
      throw error;
    }
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  #reserve(bytes: number): void {
    const { size } = fstatSync(this.#descriptor);
    if (size >= bytes) return;
    const zeros = Buffer.alloc(bytes - size);
    for (let at = 0; at < zeros.length; )
      at += writeSync(this.#descriptor, zeros, at, zeros.length - at, size + at);
    fsyncSync(this.#descriptor);
  }

  #sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fdatasync(this.#descriptor, (error) => {
        this.#failure ??= error;
        if (this.#failure === null) resolve();
        else reject(this.#failure);
      });
    });
  }
}
