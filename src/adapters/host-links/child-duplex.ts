import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { Duplex } from 'node:stream';
import { signalGroup } from './process.ts';

/**
 * The pipes of a child as one stream. The end of its output is passed on only after `verdict` found nothing wrong with
 * how it ended, so that a broken connection is an error and never an end.
 */
export class ChildDuplex extends Duplex {
  readonly #child: ChildProcessWithoutNullStreams;

  constructor(child: ChildProcessWithoutNullStreams, verdict: () => Promise<void>) {
    super({ allowHalfOpen: true });
    this.#child = child;
    child.stdout.on('data', (data: Buffer) => {
      if (!this.push(data)) child.stdout.pause();
    });
    child.stdout.once('end', () => {
      verdict().then(
        () => this.push(null),
        (error) => this.destroy(error),
      );
    });
    child.stdin.on('drain', () => this.emit('child drain'));
    child.stdin.once('close', () => this.emit('child drain'));
  }

  override _read(): void {
    this.#child.stdout.resume();
  }

  override _write(data: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#child.stdin.destroyed || this.#child.stdin.write(data)) done();
    else this.once('child drain', () => done());
  }

  override _final(done: (error?: Error | null) => void): void {
    if (!this.#child.stdin.destroyed) this.#child.stdin.end();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (this.#child.exitCode === null) signalGroup(this.#child.pid, 'SIGKILL');
    done(error);
  }
}
