import type { EngineContext } from './context.ts';
import { Reaper } from './reaper.ts';
import { Reconciler } from './reconcile.ts';
import { Runner } from './runner.ts';
import { STEPS } from './steps.ts';
import { Sweeper } from './sweep.ts';

/** The engine of one process: the runner, and, in a server, the loops that keep time and truth. */
export class Engine {
  readonly context: EngineContext;
  readonly runner: Runner;
  readonly reaper: Reaper;
  readonly reconciler: Reconciler;
  readonly sweeper: Sweeper;
  readonly #stop = new AbortController();
  #letGo: Promise<void> | null = null;
  #closed: Promise<void> | null = null;
  #loops: Promise<unknown> = Promise.resolve();

  constructor(context: EngineContext) {
    this.context = context;
    this.runner = new Runner(context, STEPS);
    this.reaper = new Reaper(context, this.runner);
    this.reconciler = new Reconciler(context, this.runner);
    this.sweeper = new Sweeper(context);
  }

  /** Starts the loops of a server: unfinished runs, deadlines, observation, orphans. */
  startLoops(): void {
    const { signal } = this.#stop;
    this.#loops = Promise.all([
      this.reaper.run(signal),
      this.reconciler.run(signal),
      this.sweeper.run(signal),
    ]);
  }

  /**
   * Stops loops and runs at the next safe place and closes the store. Sessions that are open go on: they need
   * the extension alone. Safe to repeat.
   */
  letGo(): Promise<void> {
    this.#letGo ??= this.#end();
    return this.#letGo;
  }

  /** Lets go of everything, extensions too. Safe to repeat. */
  stop(): Promise<void> {
    this.#closed ??= this.letGo().then(() => this.context.extensions.close());
    return this.#closed;
  }

  async #end(): Promise<void> {
    this.#stop.abort();
    await this.runner.stop();
    await this.#loops;
    await this.context.store.close();
  }
}
