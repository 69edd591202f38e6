/** Which sandboxes are being captured by this process now: they are in use, though the backend may not see it. */
export class Captures {
  readonly #running = new Map<string, number>();

  /** Call what it answers once, when the capture is over. */
  begin(sandboxId: string): () => void {
    this.#running.set(sandboxId, (this.#running.get(sandboxId) ?? 0) + 1);
    return () => {
      const left = (this.#running.get(sandboxId) ?? 1) - 1;
      if (left === 0) this.#running.delete(sandboxId);
      else this.#running.set(sandboxId, left);
    };
  }

  isRunning(sandboxId: string): boolean {
    return this.#running.has(sandboxId);
  }
}
