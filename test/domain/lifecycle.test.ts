/** The life-cycle table: every pair of state and event, and the run steps that move through it. */
import { describe, expect, it } from 'vitest';
import {
  canExpire,
  EVENTS,
  FINAL_STATE,
  INITIAL_STATE,
  isOver,
  isUsable,
  LIVE_STATES,
  type LifecycleEvent,
  type SandboxState,
  STATES,
  TRANSITIONS,
  transition,
} from '../../src/domain/sandbox/lifecycle.ts';
import { RUN_STEPS, stepsOf } from '../../src/domain/sandbox/runs.ts';
import { STEPS } from '../../src/engine/steps.ts';

const states = Object.keys(STATES) as SandboxState[];
const events = Object.keys(EVENTS) as LifecycleEvent[];

/** Written out by hand, so that a change of the table must be made twice, knowingly. */
const ALLOWED: readonly string[] = [
  'requested provision_started provisioning',
  'requested failure_settled failed',
  'requested destroy_started destroying',
  'requested time_ran_out expired',
  'provisioning ready_proven ready',
  'provisioning failure_settled failed',
  'provisioning destroy_started destroying',
  'provisioning time_ran_out expired',
  'ready used active',
  'ready paused paused',
  'ready time_ran_out expired',
  'ready failure_settled failed',
  'ready destroy_started destroying',
  'ready recreate_started destroying',
  'active paused paused',
  'active time_ran_out expired',
  'active failure_settled failed',
  'active destroy_started destroying',
  'active recreate_started destroying',
  'paused resumed active',
  'paused time_ran_out expired',
  'paused failure_settled failed',
  'paused destroy_started destroying',
  'paused recreate_started destroying',
  'expired destroy_started destroying',
  'failed destroy_started destroying',
  'failed recreate_started destroying',
  'destroying absence_proven destroyed',
  'destroying provision_started provisioning',
  'destroying destroy_started destroying',
  'destroying failure_settled failed',
];

describe('the life cycle', () => {
  it('allows exactly these transitions of all pairs', () => {
    const found = states.flatMap((state) =>
      events.flatMap((event) => {
        const next = transition(state, event);
        return next === null ? [] : [`${state} ${event} ${next}`];
      }),
    );
    expect(found.sort()).toEqual([...ALLOWED].sort());
  });

  it('leads from the first state to every other, and from every state to the last', () => {
    const reach = (from: SandboxState) => {
      const seen = new Set<SandboxState>([from]);
      for (const state of seen) for (const next of Object.values(TRANSITIONS[state])) seen.add(next);
      return seen;
    };
    expect([...reach(INITIAL_STATE)].sort()).toEqual([...states].sort());
    for (const state of states) expect(reach(state).has(FINAL_STATE), state).toBe(true);
  });

  it('never leaves the last state', () => {
    for (const event of events) expect(transition(FINAL_STATE, event)).toBeNull();
    expect(states.filter(isOver)).toEqual([FINAL_STATE]);
  });

  it('lets only usable states expire by idleness, and gives every working state a maximum age', () => {
    expect(states.filter(isUsable)).toEqual(['ready', 'active']);
    expect(states.filter(canExpire)).toEqual(['ready', 'active', 'paused']);
    const aged = states.filter((state) => STATES[state].maximumAgeMs !== null);
    expect(aged).toEqual(['requested', 'provisioning', 'expired', 'destroying']);
  });

  it('holds a slot in every state in which something may run', () => {
    for (const state of states) {
      if (STATES[state].holdsResources && state !== 'failed') expect(LIVE_STATES).toContain(state);
    }
  });
});

describe('the step lists', () => {
  it('name only steps that exist, and use every step', () => {
    const named = new Set(Object.values(RUN_STEPS).flat());
    expect([...named].sort()).toEqual(Object.keys(STEPS).sort());
  });

  it('leave telemetry out where none is wanted, and nothing else', () => {
    expect(stepsOf('create', false)).toEqual(['provision', 'prove_ready', 'become_ready']);
    expect(stepsOf('destroy', true)).toEqual(RUN_STEPS.destroy);
  });
});
