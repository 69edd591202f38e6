import type { EventView } from '../../../operations/view.ts';
import { type Look, stateStyle } from './look.ts';
import { cut, flow, shown } from './text.ts';

const TYPE_WIDTH = 18;
const STATE_WIDTH = 12;

function detailText(detail: EventView['detail']): string {
  return Object.entries(detail)
    .map(([name, value]) => `${shown(name)}=${flow(value)}`)
    .join(' ');
}

/** One event as one line: when, what, the state it led to, details. */
export function eventLine(event: EventView, look: Look): string {
  const time = event.at.replace('T', ' ').replace(/\.\d+Z$/, 'Z');
  const type = shown(event.type).replaceAll('_', ' ').padEnd(TYPE_WIDTH);
  const state = (event.state ?? '').padEnd(STATE_WIDTH);
  const used = time.length + type.length + state.length + 6;
  const detail = cut(detailText(event.detail), Math.max(20, look.columns - used));
  const painted = event.state === null ? state : look.paint(stateStyle(event.state), state);
  return `${look.paint('dim', time)}  ${type}  ${painted}  ${look.paint('dim', detail)}`.trimEnd();
}
