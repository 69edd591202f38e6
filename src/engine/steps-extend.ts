import { referenceOf, type Step, type StepInput } from './step.ts';

function granted(input: StepInput): number {
  return Number(input.run.argument.expires_at_ms);
}

/** The backend's own switch moves first, so it can never fire before the deadline that was granted. */
export const extendOwnDeadline: Step = {
  label: "moving the backend's own deadline",
  async perform(input) {
    const { engine, extension } = input;
    if (extension.setOwnDeadline !== undefined) {
      const remainingMs = granted(input) - engine.clock.nowMs() + engine.settings.ownDeadlineMarginMs;
      await extension.setOwnDeadline(referenceOf(input.record), remainingMs, input.signal);
    }
    return { change: {}, provisional: true };
  },
};

export const recordDeadline: Step = {
  label: 'recording',
  async perform(input) {
    const { argument } = input.run;
    const grant = {
      requestedMs: Number(argument.requested_ms),
      grantedMs: Number(argument.granted_ms),
      cutReason: argument.cut_reason === null ? null : String(argument.cut_reason),
    };
    return {
      provisional: false,
      change: {
        events: [{ type: 'extended', detail: { ...argument } }],
        patch: { expiresAtMs: granted(input), lastGrant: grant },
      },
    };
  },
};
