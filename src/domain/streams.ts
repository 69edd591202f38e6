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
