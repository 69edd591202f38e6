/** What the host's scripts say, read. */
import { z } from 'zod';
import type { Observation } from '../../ports/extension.ts';

export interface Container {
  readonly id: string;
  readonly service: string;
  /** The engine's word: created, running, restarting, exited, … */
  readonly state: string;
  /** The engine's sentence, such as "Up 3 seconds (healthy)" or "Exited (0) 2 minutes ago". */
  readonly status: string;
}

/** What is written down on the host before anything else of a sandbox is there. */
const recordSchema = z.object({
  tags: z.record(z.string(), z.string()),
  service: z.string(),
  finishing: z.array(z.string()),
  /** Of the service. */
  ports: z.array(z.number().int()),
  /** See `ComposeRequest`. */
  pauseMaxS: z.number().int().default(0),
});

export type StackRecord = z.output<typeof recordSchema>;

/** Null when it was never written, or not wholly: what is left is only to be removed. */
export function readRecord(line: string | undefined): StackRecord | null {
  if (line === undefined || line === '') return null;
  try {
    const parsed = recordSchema.safeParse(JSON.parse(line));
    return parsed.success ? parsed.data : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

export interface StackStatus {
  readonly hasDirectory: boolean;
  readonly epoch: number | null;
  /** How `up` ended; null while it has not. */
  readonly upCode: number | null;
  readonly record: StackRecord | null;
  readonly containers: readonly Container[];
  readonly leftovers: number;
  /** Seconds since it went on after it stood still; null when it never did. */
  readonly goneOnS: number | null;
}

/** Checks that failed while it stood still say nothing, until one had the time to succeed. */
const HEALTH_PATIENCE_S = 120;

export function linesOf(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('\t'));
}

const number = (text: string | undefined) => (text === undefined || text === '' ? null : Number(text));

export function readStatus(text: string): StackStatus {
  const lines = linesOf(text);
  const word = (kind: string) => lines.find(([first]) => first === kind)?.[1];
  return {
    hasDirectory: lines.some(([kind]) => kind === 'directory'),
    epoch: number(word('directory')),
    upCode: number(word('up')),
    record: readRecord(word('record')),
    containers: lines
      .filter(([kind]) => kind === 'container')
      .map(([, id = '', service = '', state = '', status = '']) => ({ id, service, state, status })),
    goneOnS: number(word('held')),
    leftovers: lines.filter(([kind]) => ['network', 'volume', 'image'].includes(kind ?? '')).length,
  };
}

/** A service that was there to do one thing, and has done it. */
function isDone(container: Container, finishing: ReadonlySet<string>): boolean {
  return finishing.has(container.service) && /^Exited \(0\)/.test(container.status);
}

export interface StackState {
  readonly state: 'starting' | 'running' | 'dead';
  readonly detail: string | null;
  /** What should say why it is dead. */
  readonly culprits: readonly string[];
}

/** Running is: every service runs, and is healthy where it has a check. `finishing` may end with 0. */
export function stateOf(status: StackStatus, finishing: ReadonlySet<string>): StackState {
  const { containers, upCode, goneOnS } = status;
  const stoodStill = goneOnS !== null && goneOnS >= 0 && goneOnS <= HEALTH_PATIENCE_S;
  const dead = (detail: string, culprits: readonly Container[]): StackState => ({
    state: 'dead',
    detail,
    culprits: culprits.map(({ id }) => id),
  });
  const failed = containers.filter(
    (container) =>
      ['exited', 'dead', 'restarting'].includes(container.state) && !isDone(container, finishing),
  );
  if (failed.length > 0) {
    const words = failed.map(({ service, status: sentence }) => `${service} ${sentence}`);
    return dead(`a service does not stay up: ${words.join('; ')}`, failed);
  }
  const unhealthy = containers.filter(({ status: sentence }) => sentence.includes('(unhealthy)'));
  if (unhealthy.length > 0 && !stoodStill) {
    return dead(`unhealthy: ${unhealthy.map(({ service }) => service).join(', ')}`, unhealthy);
  }
  if (upCode === null) return { state: 'starting', detail: 'the stack is coming up', culprits: [] };
  if (upCode !== 0) return dead(`Compose ended with ${upCode}`, []);
  if (containers.length === 0) return dead('it has no containers any more', []);
  const waiting = containers.filter(
    (container) =>
      !isDone(container, finishing) &&
      (container.state !== 'running' || /\((health: starting|unhealthy)\)/.test(container.status)),
  );
  if (waiting.length === 0) return { state: 'running', detail: null, culprits: [] };
  return {
    state: 'starting',
    detail: `waiting for ${waiting.map(({ service }) => service).join(', ')}`,
    culprits: [],
  };
}

export function absent(status: StackStatus): Observation | null {
  if (status.hasDirectory || status.containers.length > 0 || status.leftovers > 0) return null;
  return { kind: 'absent', proof: 'the host has no directory, container, network or volume of it' };
}
