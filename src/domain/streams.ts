/** The same stream once its first piece is there: what fails before that rejects here, and is no stream that breaks off. */
export async function begun<Piece>(source: AsyncIterable<Piece>): Promise<AsyncIterable<Piece>> {
  const iterator = source[Symbol.asyncIterator]();
  const first = await iterator.next();
  return (async function* () {
    if (first.done) return;
    try {
      yield first.value;
      yield* { [Symbol.asyncIterator]: () => iterator };
    } finally {
      await iterator.return?.();
    }
  })();
}

/** The same stream; `done` gets each piece once the next one is asked for. */
export async function* eachDone<Piece>(
  source: AsyncIterable<Piece>,
  done: (piece: Piece) => void,
): AsyncGenerator<Piece> {
  for await (const piece of source) {
    yield piece;
    done(piece);
  }
}

/**
 * Gives the memory of a large piece back now, of which nobody looks at anything any more; every view of it is empty from then on.
 * Left to the collector, what streams past would make it come often. Memory of the pool that small buffers share is left alone.
 */
export function release(piece: Uint8Array): void {
  const memory = piece.buffer;
  if (!(memory instanceof ArrayBuffer) || piece.byteOffset !== 0) return;
  if (piece.length === memory.byteLength || memory.byteLength > Buffer.poolSize) memory.transfer(0);
}
