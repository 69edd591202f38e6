import type { z } from 'zod';
import { SandboxerError } from '../domain/errors.ts';
import { nearestName, printable } from '../domain/text.ts';
import { authorize } from './access.ts';
import type { Operation, OperationContext } from './operation.ts';

function knownFields(schema: z.ZodType): readonly string[] {
  return 'shape' in schema && typeof schema.shape === 'object' && schema.shape !== null
    ? Object.keys(schema.shape)
    : [];
}

function sentenceOf(operation: Operation, issue: z.core.$ZodIssue): string {
  const where = issue.path.length === 0 ? '' : `${issue.path.map(String).join('.')}: `;
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0]!;
    const nearest = nearestName(key, knownFields(operation.input));
    return `${where}there is no field "${printable(key, 60)}"${nearest === null ? '' : `; did you mean "${nearest}"?`}`;
  }
  return `${where}${issue.message}`;
}

/** The input as the operation's schema gives it, or `invalid_request` with one sentence a problem. */
export function parseInput(operation: Operation, raw: unknown): unknown {
  const parsed = operation.input.safeParse(raw);
  if (parsed.success) return parsed.data;
  const sentences = parsed.error.issues.slice(0, 5).map((issue) => printable(sentenceOf(operation, issue)));
  throw new SandboxerError('invalid_request', `${operation.name}: ${sentences.join('; ')}.`, {
    nextStep: `Compare with: ${operation.examples[0]}`,
  });
}

/** Permission first, then the input: a caller without the scope learns nothing about either. */
export function admit(operation: Operation, context: OperationContext, raw: unknown): unknown {
  authorize(context.principal, operation);
  return parseInput(operation, raw);
}
