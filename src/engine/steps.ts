import type { StepTable } from './step.ts';
import { extendOwnDeadline, recordDeadline } from './steps-extend.ts';
import { becomeReady, introspect, measureHostBefore, proveReady, provision } from './steps-provision.ts';
import {
  nextCandidate,
  nextIncarnation,
  proveAbsent,
  recordCleanedUp,
  recordDestroyed,
  requestDestroy,
} from './steps-teardown.ts';

export const STEPS: StepTable = {
  measure_host: measureHostBefore,
  provision,
  prove_ready: proveReady,
  introspect,
  become_ready: becomeReady,
  request_destroy: requestDestroy,
  prove_absent: proveAbsent,
  record_destroyed: recordDestroyed,
  record_cleaned_up: recordCleanedUp,
  next_incarnation: nextIncarnation,
  next_candidate: nextCandidate,
  extend_own_deadline: extendOwnDeadline,
  record_deadline: recordDeadline,
};
