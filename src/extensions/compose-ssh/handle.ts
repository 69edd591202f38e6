/** What the core keeps of a stack for us. */
import { z } from 'zod';
import { ExtensionError, type Handle } from '../../ports/extension.ts';
import type { StackRecord } from './status.ts';

export interface StackHandle {
  readonly host: string;
  readonly service: string;
  readonly ports: readonly number[];
  /** See `ComposeRequest`. */
  readonly pauseMaxS: number;
}

const dataSchema = z.object({
  host: z.string(),
  service: z.string(),
  ports: z.string(),
  pauseMaxS: z.number().default(0),
});

/** Of a thing whose record was never written: it can be removed, and nothing more. */
export const UNRECORDED: StackRecord = { tags: {}, service: '', finishing: [], ports: [], pauseMaxS: 0 };

export function handleOf({ host, service, ports, pauseMaxS }: StackHandle): Handle {
  return { version: 1, data: { host, service, ports: ports.join(','), pauseMaxS } };
}

export function readHandle(handle: Handle | null): StackHandle {
  const parsed = dataSchema.safeParse(handle?.version === 1 ? handle.data : null);
  if (!parsed.success) throw new ExtensionError('bug', 'The handle of the stack cannot be read.');
  const { host, service, ports, pauseMaxS } = parsed.data;
  return { host, service, pauseMaxS, ports: ports === '' ? [] : ports.split(',').map(Number) };
}
