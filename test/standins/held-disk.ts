/** The disk of this process, held back: `fdatasync` answers nobody until it is let go on. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

export interface HeldDisk extends Disposable {
  /** How many flushes were asked for since. */
  readonly asked: number;
  /** Lets go those who wait, and everybody from now on. */
  release(): void;
  /** Fails those who wait, and everybody from now on. */
  fail(): void;
}

type Callback = (error: NodeJS.ErrnoException | null) => void;

export function holdDisk(): HeldDisk {
  const real = fs.fdatasync;
  const waiting: (() => void)[] = [];
  let asked = 0;
  let answer: ((descriptor: number, callback: Callback) => void) | null = null;
  const replace = (replacement: unknown) => {
    fs.fdatasync = replacement as typeof real;
    syncBuiltinESMExports();
  };
  const letGo = (how: (descriptor: number, callback: Callback) => void) => {
    answer = how;
    for (const go of waiting.splice(0)) go();
  };
  replace((descriptor: number, callback: Callback) => {
    asked += 1;
    if (answer === null) waiting.push(() => answer?.(descriptor, callback));
    else answer(descriptor, callback);
  });
  return {
    get asked() {
      return asked;
    },
    release: () => letGo((descriptor, callback) => real(descriptor, callback)),
    fail: () =>
      letGo((_descriptor, callback) => callback(Object.assign(new Error('i/o error'), { code: 'EIO' }))),
    [Symbol.dispose]() {
      replace(real);
      letGo((descriptor, callback) => real(descriptor, callback));
    },
  };
}
