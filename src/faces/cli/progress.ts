/** One moving line on standard error: the step under way and how long it has taken so far. */
import { createSystemClock } from '../../adapters/clock/system-clock.ts';
import { printable } from '../../domain/text.ts';
import { cut } from './render/text.ts';
import type { Terminal } from './terminal.ts';

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const FRAME_MS = 80;
const CLEAR_LINE = '\r\u001b[2K';
const HIDE_CURSOR = '\u001b[?25l';
const SHOW_CURSOR = '\u001b[?25h';

export interface Progress {
  step(text: string): void;
  stop(): void;
}

const SILENT: Progress = { step: () => undefined, stop: () => undefined };

/** Moves only where somebody watches. */
export function startProgress(terminal: Terminal, first: string): Progress {
  if (!terminal.watched) return SILENT;
  const clock = createSystemClock();
  const startedAtMs = clock.monotonicMs();
  const stopping = new AbortController();
  let text = first;
  let frame = 0;
  const draw = () => {
    const seconds = ((clock.monotonicMs() - startedAtMs) / 1_000).toFixed(1);
    const mark = terminal.paintError('cyan', FRAMES[frame++ % FRAMES.length]!);
    const line = cut(`${printable(text)} ${seconds}s`, (process.stderr.columns || 80) - 3);
    process.stderr.write(`${CLEAR_LINE}${mark} ${line}`);
  };
  const showCursor = () => void process.stderr.write(SHOW_CURSOR);
  const animate = async () => {
    while (!stopping.signal.aborted) {
      draw();
      await clock.sleep(FRAME_MS, stopping.signal);
    }
  };
  process.stderr.write(HIDE_CURSOR);
  process.once('exit', showCursor);
  animate().catch(() => undefined); // stopped
  return {
    step(next) {
      text = next;
      if (!stopping.signal.aborted) draw();
    },
    stop() {
      if (stopping.signal.aborted) return;
      stopping.abort();
      process.off('exit', showCursor);
      process.stderr.write(`${CLEAR_LINE}${SHOW_CURSOR}`);
    },
  };
}
