/** Every option that `ssh` is given. The user's `~/.ssh/config` matters to the connection, never to what uses it. */
import { destinationText, type SshDestination } from '../../domain/host/host.ts';

const KEEP_SECONDS = 60;
const CONNECT_TIMEOUT_SECONDS = 10;

const ALWAYS = [
  'BatchMode=yes',
  'LogLevel=ERROR',
  'ForwardAgent=no',
  'ForwardX11=no',
  'Tunnel=no',
  'RemoteCommand=none',
  'PermitLocalCommand=no',
  'RequestTTY=no',
  'EscapeChar=none',
];
const CONNECTION = [
  `ControlPersist=${KEEP_SECONDS}`,
  'StrictHostKeyChecking=yes',
  'UpdateHostKeys=no',
  'PasswordAuthentication=no',
  'KbdInteractiveAuthentication=no',
  `ConnectTimeout=${CONNECT_TIMEOUT_SECONDS}`,
  'ServerAliveInterval=5',
  'ServerAliveCountMax=2',
  'ClearAllForwardings=yes',
];
/** Without the shared connection `ssh` would make one of its own; this one cannot be made. */
const SHARED = ['ControlMaster=no', 'ProxyCommand=false'];

const options = (list: readonly string[]) => list.flatMap((option) => ['-o', option]);

function endpoint(destination: SshDestination, configFile: string | null): string[] {
  return [
    ...(configFile === null ? [] : ['-F', configFile]),
    ...(destination.port === null ? [] : ['-p', String(destination.port)]),
    ...(destination.jump === null ? [] : ['-J', destination.jump]),
  ];
}

/** Opens the shared connection at `controlPath`; the process ends with 0 once it is there, and leaves it behind. */
export function masterArguments(
  destination: SshDestination,
  controlPath: string,
  configFile: string | null,
): string[] {
  const key = destination.key_file === null ? [] : ['-i', destination.key_file, '-o', 'IdentitiesOnly=yes'];
  return [
    ...endpoint(destination, configFile),
    ...key,
    ...options([...ALWAYS, ...CONNECTION]),
    ...['-T', '-N', '-M', '-S', controlPath, '--', destinationText(destination)],
  ];
}

/** Something that goes over the shared connection and over no other. */
export function sharedArguments(controlPath: string): string[] {
  return ['-F', 'none', ...options([...ALWAYS, ...SHARED]), '-T', '-S', controlPath];
}

/** What a person types to look at the key of a host and accept it. */
export function acceptCommand(destination: SshDestination, configFile: string | null): string[] {
  return [
    ...['ssh', '-o', 'StrictHostKeyChecking=ask'],
    ...endpoint(destination, configFile),
    destinationText(destination),
    'exit',
  ];
}
