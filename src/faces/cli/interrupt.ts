/** Ctrl-C. The first one asks politely, the second one ends the process. */

const EXIT_INTERRUPTED = 130;

export interface Interrupts {
  stop(): void;
}

/** Calls `first` at the first SIGINT or SIGTERM; at the second calls `last` and exits. */
export function onInterrupt(first: (signal: NodeJS.Signals) => void, last: () => void): Interrupts {
  let count = 0;
  const listener = (signal: NodeJS.Signals) => {
    count += 1;
    if (count === 1) return first(signal);
    last();
    process.exit(EXIT_INTERRUPTED);
  };
  process.on('SIGINT', listener);
  process.on('SIGTERM', listener);
  return {
    stop() {
      process.off('SIGINT', listener);
      process.off('SIGTERM', listener);
    },
  };
}
