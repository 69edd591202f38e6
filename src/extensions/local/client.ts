/** Where one sandbox lives on disk, and how its agent is spoken to. */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseBackendName } from '../../domain/ids.ts';
import { printable } from '../../domain/text.ts';
import type { Clock } from '../../ports/clock.ts';
import { isMissing } from './errors.ts';
import { processStartTime } from './host.ts';
import { type AgentClient, connectAgent } from './native/agent-client.ts';

/** What is written down before anything is started, so that a crash leaves a thing with a name. */
export interface BoxRecord {
  readonly epoch: number;
  readonly tags: Readonly<Record<string, string>>;
  readonly environment: Readonly<Record<string, string>>;
  /** The range of user ids, or null where the broker is an ordinary user. */
  readonly slot: number | null;
  /** The snapshot whose content its workspace lies over, in `Layers`; null where the workspace is all its own. */
  readonly layer: string | null;
  readonly createdAtMs: number;
}

const RECORD_FILE = 'sandbox.json';
const LOG_TAIL_CHARACTERS = 300;

export class Boxes {
  readonly directory: string;
  readonly #key: KeyObject;
  readonly #clock: Clock;
  readonly #agents = new Map<string, AgentClient>();
  readonly #tokens = new Map<string, Uint8Array>();
  readonly #environments = new Map<string, Readonly<Record<string, string>>>();

  constructor(directory: string, secret: Uint8Array, clock: Clock) {
    this.directory = directory;
    this.#clock = clock;
    this.#key = createSecretKey(secret);
  }

  path(name: string): string {
    if (parseBackendName(name) === null) throw new TypeError('not a name of ours');
    return join(this.directory, name);
  }

  exists(name: string): boolean {
    return existsSync(this.path(name));
  }

  names(): readonly string[] {
    return readdirSync(this.directory).filter((name) => parseBackendName(name) !== null);
  }

  write(name: string, record: BoxRecord): void {
    writeFileSync(join(this.path(name), RECORD_FILE), JSON.stringify(record), { mode: 0o600 });
  }

  /** Null when it was never written or not wholly: what is left is only to be removed. */
  read(name: string): BoxRecord | null {
    try {
      return JSON.parse(readFileSync(join(this.path(name), RECORD_FILE), 'utf8')) as BoxRecord;
    } catch (error) {
      if (isMissing(error) || error instanceof SyntaxError) return null;
      throw error;
    }
  }

  /** What every command in the sandbox finds in its environment. */
  environment(name: string): Readonly<Record<string, string>> {
    let environment = this.#environments.get(name);
    if (environment === undefined) {
      environment = this.read(name)?.environment ?? {};
      this.#environments.set(name, environment);
    }
    return environment;
  }

  forget(name: string): void {
    this.#agents.get(name)?.close();
    this.#agents.delete(name);
    this.#environments.delete(name);
    this.#tokens.delete(name);
  }

  /** Known to this home alone, never stored: derived from the home's secret and the name. */
  token(name: string): Uint8Array {
    let token = this.#tokens.get(name);
    if (token === undefined) {
      token = createHmac('sha256', this.#key).update(`agent:${name}`).digest();
      this.#tokens.set(name, token);
    }
    return token;
  }

  agent(name: string): AgentClient {
    let agent = this.#agents.get(name);
    if (agent === undefined) {
      const socketPath = join(this.path(name), 'agent.sock');
      agent = connectAgent({ socketPath, token: this.token(name), clock: this.#clock });
      this.#agents.set(name, agent);
    }
    return agent;
  }

  /** The sandbox's first process as seen outside, while it lives; its end ends every other. */
  process(name: string): number | null {
    try {
      const [pid, startTime] = readFileSync(join(this.path(name), 'pid'), 'utf8')
        .trim()
        .split(' ');
      const number = Number(pid);
      return Number.isInteger(number) && number > 1 && processStartTime(number) === startTime ? number : null;
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  /** The last words of a sandbox that did not start, or null. */
  lastWords(name: string): string | null {
    try {
      const text = readFileSync(join(this.path(name), 'launch.log'), 'utf8').trim();
      return text === '' ? null : printable(text.slice(-LOG_TAIL_CHARACTERS).replaceAll('\n', ' '));
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }
}
