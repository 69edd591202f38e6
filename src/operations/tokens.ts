import { createHash, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { SandboxerError } from '../domain/errors.ts';
import { base32 } from '../domain/ids.ts';
import { formatToken, parseToken, TOKEN_ID_BYTES, TOKEN_SECRET_BYTES } from '../domain/token.ts';
import type { EngineContext } from '../engine/context.ts';
import type { TokenRecord } from '../ports/store.ts';
import { call, type Principal, SCOPES, type Scope } from './operation.ts';

function hash(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url');
}

export interface NewToken {
  readonly token: string;
  readonly record: TokenRecord;
}

/** Makes and stores a token; its text exists only in the answer. */
export async function issueToken(
  engine: EngineContext,
  request: { readonly name: string; readonly project: string | null; readonly scopes: readonly Scope[] },
): Promise<NewToken> {
  const id = base32(engine.entropy.bytes(TOKEN_ID_BYTES));
  const secret = base32(engine.entropy.bytes(TOKEN_SECRET_BYTES));
  const record: TokenRecord = {
    ...request,
    id,
    hash: hash(secret),
    createdAtMs: engine.clock.nowMs(),
    revokedAtMs: null,
  };
  await engine.store.transaction((transaction) => transaction.putToken(record));
  return { token: formatToken(id, secret), record };
}

/** The principal behind a presented token, or null. Compares in constant time. */
export async function authenticate(engine: EngineContext, presented: string): Promise<Principal | null> {
  const parsed = parseToken(presented);
  if (parsed === null) return null;
  const record = await engine.store.getToken(parsed.id);
  const expected = Buffer.from(record?.hash ?? hash(''), 'base64url');
  const same = timingSafeEqual(Buffer.from(hash(parsed.secret), 'base64url'), expected);
  if (record === null || !same || record.revokedAtMs !== null) return null;
  return {
    id: `token:${record.id}`,
    project: record.project,
    scopes: record.scopes.filter((scope): scope is Scope => (SCOPES as readonly string[]).includes(scope)),
    operator: record.project === null && record.scopes.includes('admin'),
  };
}

const tokenView = z.object({
  id: z.string(),
  name: z.string(),
  project: z.string().nullable(),
  scopes: z.array(z.enum(SCOPES)),
  created_at: z.string(),
  revoked_at: z.string().nullable(),
});

function view(record: TokenRecord): z.input<typeof tokenView> {
  return {
    id: record.id,
    name: record.name,
    project: record.project,
    scopes: record.scopes as Scope[],
    created_at: new Date(record.createdAtMs).toISOString(),
    revoked_at: record.revokedAtMs === null ? null : new Date(record.revokedAtMs).toISOString(),
  };
}

export const tokensCreate = call({
  name: 'tokens_create',
  summary: 'Issue an API token; it is shown once',
  input: z.strictObject({
    name: z.string().min(1).max(120).describe('What it is for'),
    project: z.string().min(1).max(120).optional().describe('Limit it to this project'),
    scopes: z.array(z.enum(SCOPES)).min(1).default(['read', 'write', 'exec']).describe('What it may do'),
  }),
  output: z.object({ token: z.string(), ...tokenView.shape }),
  scope: 'admin',
  effect: 'write',
  keyed: false,
  errors: ['forbidden'],
  examples: ['sandboxer tokens create --name ci --project web --scope read write exec'],
  http: { method: 'POST', path: '/v1/tokens', status: 201 },
  cli: {
    command: ['tokens', 'create'],
    positional: [],
    flags: { name: '--name <name>', project: '--project <name>', scopes: '--scope <scope...>' },
  },
  async run(context, input) {
    const own = context.principal.project;
    if (own !== null && input.project !== own) {
      throw new SandboxerError('forbidden', `This token may issue tokens for the project "${own}" only.`);
    }
    const { token, record } = await issueToken(context.engine.context, {
      ...input,
      project: input.project ?? null,
    });
    return { token, ...view(record) };
  },
});

export const tokensList = call({
  name: 'tokens_list',
  summary: 'The API tokens, without their secrets',
  input: z.strictObject({}),
  output: z.object({ items: z.array(tokenView) }),
  scope: 'admin',
  effect: 'read',
  keyed: false,
  errors: [],
  examples: ['sandboxer tokens list'],
  http: { method: 'GET', path: '/v1/tokens' },
  cli: { command: ['tokens', 'list'], positional: [], flags: {} },
  async run(context) {
    const own = context.principal.project;
    const records = await context.engine.context.store.listTokens();
    return { items: records.filter(({ project }) => own === null || project === own).map(view) };
  },
});

export const tokensRevoke = call({
  name: 'tokens_revoke',
  summary: 'End an API token at once',
  input: z.strictObject({ id: z.string().max(40).describe('The id of a token') }),
  output: tokenView,
  scope: 'admin',
  effect: 'destructive',
  keyed: false,
  errors: ['not_found'],
  examples: ['sandboxer tokens revoke <id>'],
  http: { method: 'DELETE', path: '/v1/tokens/{id}' },
  cli: { command: ['tokens', 'revoke'], positional: ['id'], flags: {} },
  async run(context, { id }) {
    const { store, clock } = context.engine.context;
    const found = await store.getToken(id);
    const own = context.principal.project;
    if (found === null || (own !== null && found.project !== own)) {
      throw new SandboxerError('not_found', `There is no token ${id}.`);
    }
    const revoked = { ...found, revokedAtMs: found.revokedAtMs ?? clock.nowMs() };
    await store.transaction((transaction) => transaction.putToken(revoked));
    return view(revoked);
  },
});
