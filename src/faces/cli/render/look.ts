import type { SandboxState } from '../../../domain/sandbox/lifecycle.ts';
import type { Style } from '../terminal.ts';

/** What a renderer may know of where its text goes. */
export interface Look {
  readonly columns: number;
  paint(style: Style, text: string): string;
}

const STATE_STYLES: Readonly<Record<SandboxState, Style>> = {
  requested: 'yellow',
  provisioning: 'yellow',
  ready: 'green',
  active: 'green',
  paused: 'yellow',
  expired: 'dim',
  failed: 'red',
  destroying: 'yellow',
  destroyed: 'dim',
};

export function stateStyle(state: SandboxState): Style {
  return STATE_STYLES[state];
}
