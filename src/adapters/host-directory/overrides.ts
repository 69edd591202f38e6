import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { SandboxerError } from '../../domain/errors.ts';
import { COMPOSE_COMMANDS, type Host, parseDestination } from '../../domain/host/host.ts';
import { inWords } from '../../domain/text.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** What the environment puts over every host; null leaves the host as it is. */
export interface HostOverrides {
  readonly user: string | null;
  readonly keyFile: string | null;
  readonly composeCommand: Host['compose_command'];
}

function wrong(name: string, value: string, what: string): SandboxerError {
  return new SandboxerError('invalid_request', `${name} is "${value.slice(0, 40)}", and must be ${what}.`);
}

function userFrom(value: string): string {
  if (parseDestination(`${value}@host`)?.user === value) return value;
  throw wrong('SANDBOXER_SSH_USER', value, 'a login name');
}

function composeCommandFrom(value: string): Host['compose_command'] {
  const found = COMPOSE_COMMANDS.find((command) => command === value);
  if (found !== undefined) return found;
  throw wrong('SANDBOXER_COMPOSE_CMD', value, `one of ${inWords(COMPOSE_COMMANDS)}`);
}

function pathFrom(value: string, environment: Environment): string {
  return value.startsWith('~/') ? join(environment.HOME ?? homedir(), value.slice(2)) : resolve(value);
}

/** Throws `invalid_request` for a value that could not be meant. An empty one counts as none. */
export function overridesFrom(environment: Environment): HostOverrides {
  const { SANDBOXER_SSH_USER: user, SANDBOXER_SSH_KEY: key, SANDBOXER_COMPOSE_CMD: command } = environment;
  return {
    user: user ? userFrom(user) : null,
    keyFile: key ? pathFrom(key, environment) : null,
    composeCommand: command ? composeCommandFrom(command) : null,
  };
}

export function overridden(host: Host, { user, keyFile, composeCommand }: HostOverrides): Host {
  const { ssh } = host;
  return {
    ...host,
    ssh: ssh === null ? null : { ...ssh, user: user ?? ssh.user, key_file: keyFile ?? ssh.key_file },
    compose_command: composeCommand ?? host.compose_command,
  };
}
