import type { Style } from '../terminal.ts';

/** What a renderer may know of where its text goes. */
export interface Look {
  readonly columns: number;
  paint(style: Style, text: string): string;
}

const GOOD = ['ready', 'active'];
const BAD = ['failed'];
const GONE = ['destroyed', 'expired'];

export function stateStyle(state: string): Style {
  if (GOOD.includes(state)) return 'green';
  if (BAD.includes(state)) return 'red';
  return GONE.includes(state) ? 'dim' : 'yellow';
}
