/** Named places between an effect and its record. Production does nothing there; the crash test dies there. */
export interface CrashPoints {
  reached(point: string): void;
}

export const NO_CRASH_POINTS: CrashPoints = { reached: () => undefined };
