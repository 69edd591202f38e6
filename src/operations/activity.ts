import { SandboxerError } from '../domain/errors.ts';
import { isUsable, transition } from '../domain/sandbox/lifecycle.ts';
import { commitChange } from '../engine/commit.ts';
import type { EngineContext } from '../engine/context.ts';
import type { SandboxRecord } from '../ports/store.ts';

/**
 * The first use moves `ready` to `active`; later ones change nothing (the backend itself knows when it was used
 * last). With `strict`, throws `state_conflict` where the sandbox cannot be used.
 */
export async function markActive(
  engine: EngineContext,
  record: SandboxRecord,
  strict: boolean,
): Promise<SandboxRecord> {
  if (transition(record.state, 'used') === null) {
    if (!strict || isUsable(record.state)) return record;
    throw new SandboxerError(
      'state_conflict',
      `The sandbox ${record.id} is ${record.state}; it cannot be used.`,
      {
        sandboxId: record.id,
      },
    );
  }
  return commitChange(engine, record.id, (current) =>
    transition(current.state, 'used') === null
      ? null
      : { lifecycle: ['used'], patch: { lastActivityAtMs: engine.clock.nowMs() } },
  );
}
