import { closeSync, fdatasync, fstatSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** A little more than the thousand pages after which SQLite begins its log anew. */
const RESERVED_BYTES = 5 * 1024 * 1024;

/** Makes what was committed survive a power cut. */
export interface Flusher {
  /** Resolves once everything committed before the call is on the disk. */
  flush(): Promise<void>;
  close(): void;
}

export const NO_FLUSH: Flusher = { flush: async () => undefined, close: () => undefined };

/**
 * Flushes SQLite's write-ahead log from another thread. What `synchronous = FULL` does inside each commit, with the
 * event loop held still for as long as the disk takes, happens here while it goes on; commits that come in the
 * meantime share the next flush.
 */
export class LogFlusher implements Flusher {
  readonly #descriptor: number;
  #running: Promise<void> | null = null;
  #next: Promise<void> | null = null;
  /** After a failed flush the kernel may call the lost pages clean: no later success means anything. */
  #failure: Error | null = null;

  /**
   * The log must exist; its directory entry is made durable here, once. With `reserve` its space is, too: overwriting
   * what is there flushes in half the time of growing. SQLite ignores zeros after its last frame.
   */
  constructor(logPath: string, reserve = false) {
    this.#descriptor = openSync(logPath, 'r+');
    if (reserve) this.#reserve();
    const directory = openSync(dirname(logPath), 'r');
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

  close(): void {
    closeSync(this.#descriptor);
  }

  #reserve(): void {
    const { size } = fstatSync(this.#descriptor);
    const piece = Buffer.alloc(1024 * 1024);
    for (let offset = size; offset < RESERVED_BYTES; offset += piece.length) {
      writeSync(this.#descriptor, piece, 0, piece.length, offset);
    }
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
