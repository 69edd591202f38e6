import { SandboxerError } from '../../domain/errors.ts';
import { LIMITS } from '../../domain/limits.ts';
import type { EngineContext } from '../../engine/context.ts';
import { OPERATOR } from '../../operations/access.ts';
import type { Principal } from '../../operations/operation.ts';
import { authenticate } from '../../operations/tokens.ts';
import { RateLimit } from './rate-limit.ts';

export interface RequestOrigin {
  /** Came in over the home's own socket, which only its owner can open. */
  readonly trusted: boolean;
  readonly remoteAddress: string;
  readonly host: string | undefined;
  readonly origin: string | undefined;
  readonly authorization: string | undefined;
}

const LOOPBACK_HOSTS = ['localhost', '127.0.0.1', '[::1]'];

function hostName(host: string): string {
  return host.replace(/:\d+$/, '').toLowerCase();
}

/** Decides who a request comes from. Default deny. */
export class Gatekeeper {
  readonly #engine: EngineContext;
  readonly #allowedHosts: readonly string[];
  readonly #requests: RateLimit;
  readonly #failures: RateLimit;

  constructor(engine: EngineContext, allowedHosts: readonly string[]) {
    this.#engine = engine;
    this.#allowedHosts = [...LOOPBACK_HOSTS, ...allowedHosts.map((host) => host.toLowerCase())];
    this.#requests = new RateLimit(engine.clock, LIMITS.rateLimitPerSecond, LIMITS.rateLimitBurst);
    this.#failures = new RateLimit(
      engine.clock,
      LIMITS.authenticationFailuresPerMinute / 60,
      LIMITS.authenticationFailuresPerMinute,
    );
  }

  /** Refuses a browser that was lured here: a foreign Host (DNS rebinding) or Origin. */
  checkSource(request: RequestOrigin): void {
    if (request.trusted) return;
    if (request.host === undefined || !this.#allowedHosts.includes(hostName(request.host))) {
      throw new SandboxerError('forbidden', 'The Host header names another server than this one.', {
        nextStep: 'Use 127.0.0.1 or localhost, or add the name to SANDBOXER_ALLOWED_HOSTS.',
      });
    }
    if (request.origin === undefined) return;
    const origin = URL.canParse(request.origin) ? new URL(request.origin).hostname : '';
    if (!this.#allowedHosts.includes(origin) && !this.#allowedHosts.includes(`[${origin}]`)) {
      throw new SandboxerError('forbidden', 'Requests from that web page are not accepted.');
    }
  }

  async principalOf(request: RequestOrigin): Promise<Principal> {
    const principal = request.trusted ? OPERATOR : await this.#byToken(request);
    this.#requests.take(principal.id);
    return principal;
  }

  async #byToken(request: RequestOrigin): Promise<Principal> {
    const token = /^Bearer ([\x21-\x7e]{1,200})$/.exec(request.authorization ?? '')?.[1];
    const principal = token === undefined ? null : await authenticate(this.#engine, token);
    if (principal !== null) return principal;
    this.#failures.take(request.remoteAddress);
    throw new SandboxerError('unauthenticated', 'A valid token is needed.', {
      nextStep:
        'Send "Authorization: Bearer …"; the first token is in the file "token" of the home directory.',
    });
  }
}
