/** A bounded queue of bytes from one producer to one reader. Pushing waits while the reader is behind. */
export class ByteQueue<Item extends { readonly length: number } | { readonly data: Uint8Array }> {
  readonly #items: Item[] = [];
  readonly #limit: number;
  #ended = false;
  #wakeReader: (() => void) | null = null;
  #wakeWriters: (() => void)[] = [];

  constructor(limitItems = 16) {
    this.#limit = limitItems;
  }

  /** False when the queue has ended and the item was dropped. */
  async push(item: Item): Promise<boolean> {
    while (!this.#ended && this.#items.length >= this.#limit) {
      await new Promise<void>((resolve) => this.#wakeWriters.push(resolve));
    }
    if (this.#ended) return false;
    this.#items.push(item);
    this.#wake();
    return true;
  }

  /** What was pushed before is still read. */
  end(): void {
    this.#ended = true;
    this.#wake();
  }

  get ended(): boolean {
    return this.#ended;
  }

  async *read(): AsyncGenerator<Item> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) {
        this.#wake();
        yield item;
      } else if (this.#ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wakeReader = resolve;
        });
      }
    }
  }

  #wake(): void {
    const writers = this.#wakeWriters;
    this.#wakeWriters = [];
    for (const wake of writers) wake();
    this.#wakeReader?.();
    this.#wakeReader = null;
  }
}
