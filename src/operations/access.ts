import { SandboxerError } from '../domain/errors.ts';
import { isSandboxId } from '../domain/ids.ts';
import { isUsable } from '../domain/sandbox/lifecycle.ts';
import type { SandboxRecord } from '../ports/store.ts';
import type { OperationContext, Principal, Scope } from './operation.ts';

/** The owner of the home: whoever may open its socket or run in its process. */
export const OPERATOR: Principal = { id: 'operator', project: null, scopes: ['admin'], operator: true };

/** Default deny: throws `forbidden` unless the scope was granted. `admin` grants every scope. */
export function requireScope(principal: Principal, scope: Scope): void {
  if (principal.scopes.includes(scope) || principal.scopes.includes('admin')) return;
  throw new SandboxerError('forbidden', `This token lacks the scope "${scope}".`, {
    nextStep: `Ask the operator for a token with it: sandboxer tokens create --name … --scope ${scope}`,
  });
}

/** Throws `forbidden` unless the caller may run the operation at all. */
export function authorize(
  principal: Principal,
  operation: { readonly name: string; readonly scope: Scope; readonly hostWide?: boolean },
): void {
  requireScope(principal, operation.scope);
  if (operation.hostWide !== true || principal.operator) return;
  throw new SandboxerError(
    'forbidden',
    `${operation.name} concerns the whole machine, and is for its operator only.`,
  );
}

/** The record, if the caller may know of it. Another project's looks exactly like a missing one. */
export async function visibleSandbox(context: OperationContext, id: string): Promise<SandboxRecord> {
  const record = isSandboxId(id) ? await context.engine.context.store.getSandbox(id) : null;
  const { project } = context.principal;
  if (record !== null && (project === null || record.consumer.project === project)) return record;
  throw new SandboxerError('not_found', `There is no sandbox ${id.slice(0, 40)}.`, {
    nextStep: 'List yours with: sandboxer list',
  });
}

/** A record on which sessions may be opened. */
export async function usableSandbox(context: OperationContext, id: string): Promise<SandboxRecord> {
  const record = await visibleSandbox(context, id);
  if (isUsable(record.state)) return record;
  throw new SandboxerError(
    'state_conflict',
    `The sandbox ${id} is ${record.state}, so nothing can run in it.`,
    {
      sandboxId: id,
      nextStep:
        record.failure === null
          ? 'Create a new one: sandboxer create'
          : `It failed: ${record.failure.message}`,
    },
  );
}

/** The project a create counts for: the token's own, where it has one. */
export function projectOf(principal: Principal, asked: string | undefined): string {
  if (principal.project === null) return asked ?? 'default';
  if (asked === undefined || asked === principal.project) return principal.project;
  throw new SandboxerError('forbidden', `This token works for the project "${principal.project}" only.`, {
    nextStep: 'Leave the project out, or use a token of the other project.',
  });
}

/** Throws while something could not be settled and is being tried again. */
export function checkAttention(record: SandboxRecord): void {
  if (record.run === null || record.attention === null) return;
  throw new SandboxerError('backend_unavailable', record.attention, {
    sandboxId: record.id,
    nextStep: `It is repeated by itself; look again with: sandboxer get ${record.id}`,
  });
}
