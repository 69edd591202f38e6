/** What `ssh` says when it ends with 255, as the kinds of the contract. */
import { destinationText, type Host, type SshDestination } from '../../domain/host/host.ts';
import { asSentence, printable } from '../../domain/text.ts';
import { ExtensionError } from '../../ports/extension.ts';
import { quoteWord } from './quote.ts';
import { acceptCommand } from './ssh-arguments.ts';

const MESSAGE_LENGTH_MAX = 200;
const REFUSED_KEY =
  /Permission denied|Too many authentication failures|No more authentication methods|UNPROTECTED PRIVATE KEY/i;
const CHANGED_KEY = /HOST IDENTIFICATION HAS CHANGED|has changed and you have requested strict checking/;
const UNKNOWN_KEY = /Host key verification failed|host key is known for|REVOKED HOST KEY/i;
const BAD_CONFIGURATION = /Bad configuration option|Bad owner or permissions|Can't open user config file/i;
/** `ssh` found no shared connection, or it took no further session; what follows is the connection that cannot be made. */
const NEVER_SENT =
  /Control socket|mux_client_hello|session request failed|kex_exchange_identification|banner exchange|UNKNOWN port/;
/** The request had gone out when the connection ended. */
const MAYBE_SENT = /read from master failed|write packet/;

/** The last line that says something, bounded and safe to show. */
export function lastLine(stderr: string): string {
  const lines = stderr.split(/[\r\n]+/).filter((line) => line.trim() !== '' && !/^@+$/.test(line.trim()));
  return printable(lines.at(-1)?.trim() ?? '', MESSAGE_LENGTH_MAX);
}

function because(sentence: string, stderr: string): string {
  const said = lastLine(stderr);
  return said === '' ? `${sentence}.` : `${sentence}: ${asSentence(said)}`;
}

function commandText(words: readonly string[]): string {
  return printable(words.map(quoteWord).join(' '), 600);
}

function changedKey(who: string, accept: string, stderr: string): ExtensionError {
  const name = /Host key for (\S+) has changed/.exec(stderr)?.[1] ?? null;
  const file = /Offending \S+ key in (\S+):[0-9]+/.exec(stderr)?.[1] ?? null;
  const remove =
    name === null ? '' : commandText(['ssh-keygen', ...(file === null ? [] : ['-f', file]), '-R', name]);
  const how = remove === '' ? accept : `${remove} && ${accept}`;
  return new ExtensionError(
    'forbidden',
    `The host key of ${who} has changed; it may be another machine. If the change is meant, run: ${how}`,
  );
}

/** Why the shared connection could not be opened. */
export function connectError(
  host: Host,
  destination: SshDestination,
  stderr: string,
  configFile: string | null,
): ExtensionError {
  const who = `host ${host.name} (${destinationText(destination)})`;
  const accept = commandText(acceptCommand(destination, configFile));
  if (CHANGED_KEY.test(stderr)) return changedKey(who, accept, stderr);
  if (UNKNOWN_KEY.test(stderr)) {
    return new ExtensionError(
      'forbidden',
      `The host key of ${who} is not known here. Compare its fingerprint and accept it with: ${accept}`,
    );
  }
  if (REFUSED_KEY.test(stderr))
    return new ExtensionError('unauthenticated', because(`${who} refused the login`, stderr));
  if (BAD_CONFIGURATION.test(stderr))
    return new ExtensionError('invalid', because(`The SSH configuration for ${who} cannot be used`, stderr));
  return new ExtensionError('transient', because(`${who} cannot be reached`, stderr));
}

/** Whether a client of the shared connection failed before it could ask for anything. */
export function neverSent(stderr: string): boolean {
  return NEVER_SENT.test(stderr) && !MAYBE_SENT.test(stderr);
}

/** Whether the host takes no further session on this connection. */
export function sessionRefused(stderr: string): boolean {
  return /session request failed|Session open refused/.test(stderr);
}

/** The error of a command that ended with 255 and did not say so itself. */
export function brokenLinkError(host: Host, stderr: string): ExtensionError {
  if (sessionRefused(stderr)) {
    return new ExtensionError(
      'transient',
      `Host ${host.name} takes no further session; MaxSessions of its sshd may be below 10.`,
    );
  }
  if (neverSent(stderr))
    return new ExtensionError('transient', `The connection to host ${host.name} was gone.`);
  return new ExtensionError(
    'ambiguous',
    `The connection to host ${host.name} broke while a command was under way.`,
  );
}
