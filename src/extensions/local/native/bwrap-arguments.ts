/** What bwrap is told about one sandbox. Pure: everything about the host comes in through the spec. */
export interface SandboxMounts {
  readonly sandboxDir: string;
  /** Directory in `sandboxDir` that is `/workspace`. */
  readonly workspaceName: string;
  /** Directory in `sandboxDir` that is `/home/user`. */
  readonly homeName: string;
  readonly agentPath: string;
  /** From `prepareEtcDirectory`, once for all sandboxes; becomes `/etc` of those without an image. */
  readonly etc: PreparedEtc;
  readonly root: SandboxRoot;
  readonly tmpBytes: number;
}

export interface PreparedEtc {
  readonly directory: string;
  /** Directories in the host's `/etc` that are bound over its empty ones of the same name. */
  readonly binds: readonly string[];
}

export type SandboxRoot =
  /** The host's programs, read-only: `/usr` and what `findHostBase` found beside it. */
  | { readonly kind: 'host'; readonly links: readonly HostLink[]; readonly directories: readonly string[] }
  /** An extracted image, prepared once with `prepareImageRoot`. */
  | { readonly kind: 'image'; readonly directory: string };

export interface HostLink {
  readonly path: string;
  readonly target: string;
}

export interface BwrapSpec extends SandboxMounts {
  readonly mode: 'ranged' | 'single';
  /** Whether this bwrap knows `--disable-userns`; only for `single`. */
  readonly canDisableUserNamespaces: boolean;
}

export interface BwrapPlan {
  readonly bwrapArguments: string[];
  /** For the launch request. */
  readonly stagedPaths: string[];
}

/** What the agent needs to become the user and to kill and to hand out terminals; commands get none or a part. */
const AGENT_CAPABILITIES = [
  'CAP_SETUID',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_KILL',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
];
const AGENT_DIRECTORY = '/.sandboxer';
const RUN_BYTES = 16 * 1024 * 1024;

function identityArguments(spec: BwrapSpec): string[] {
  if (spec.mode === 'ranged') {
    return ['--cap-drop', 'ALL', ...AGENT_CAPABILITIES.flatMap((name) => ['--cap-add', name])];
  }
  const userNamespace = ['--unshare-user', '--uid', '1000', '--gid', '1000', '--cap-drop', 'ALL'];
  return spec.canDisableUserNamespaces ? [...userNamespace, '--disable-userns'] : userNamespace;
}

function rootArguments(spec: BwrapSpec, etcSource: string, imageSource: string): string[] {
  const root = spec.root;
  if (root.kind === 'image') return ['--ro-bind', imageSource, '/'];
  return [
    ...['--ro-bind', '/usr', '/usr'],
    ...root.links.flatMap((link) => ['--symlink', link.target, link.path]),
    ...root.directories.flatMap((path) => ['--ro-bind', path, path]),
    ...['--ro-bind', etcSource, '/etc'],
    ...spec.etc.binds.flatMap((path) => ['--ro-bind', path, path]),
  ];
}

function publicDirectory(path: string): string[] {
  return ['--perms', '0755', '--dir', path];
}

function temporary(path: string, bytes: number, permissions: string): string[] {
  return ['--perms', permissions, '--size', String(bytes), '--tmpfs', path];
}

export function bwrapArguments(spec: BwrapSpec): BwrapPlan {
  const paths = [
    `${spec.sandboxDir}/${spec.workspaceName}`,
    `${spec.sandboxDir}/${spec.homeName}`,
    spec.agentPath,
    spec.etc.directory,
  ];
  if (spec.root.kind === 'image') paths.push(spec.root.directory);
  /* In ranged mode root stages the sources where the sandbox's ids can reach them. */
  const staged = spec.mode === 'ranged';
  const source = (index: number): string => (staged ? `/tmp/${index}` : (paths[index] ?? ''));
  const list = [
    ...['--unshare-ipc', '--unshare-pid', '--unshare-net', '--unshare-uts', '--unshare-cgroup-try'],
    ...['--new-session', '--die-with-parent', '--as-pid-1', '--hostname', 'sandbox'],
    ...identityArguments(spec),
    ...rootArguments(spec, source(3), source(4)),
    ...['--proc', '/proc', '--dev', '/dev'],
    /* Named, because bwrap closes the parents it makes by itself to everybody but root. */
    ...(spec.root.kind === 'host' ? ['/home', '/var', '/run', AGENT_DIRECTORY].flatMap(publicDirectory) : []),
    ...(spec.mode === 'ranged' ? temporary('/root', spec.tmpBytes, '0700') : []),
    ...temporary('/tmp', spec.tmpBytes, '1777'),
    ...(spec.root.kind === 'host'
      ? ['--symlink', '../tmp', '/var/tmp']
      : temporary('/var/tmp', spec.tmpBytes, '1777')),
    ...(spec.root.kind === 'image' ? temporary('/run', RUN_BYTES, '0755') : []),
    ...temporary('/dev/shm', spec.tmpBytes, '1777'),
    ...(spec.root.kind === 'image' ? temporary(AGENT_DIRECTORY, 65_536, '0755') : []),
    ...['--ro-bind', source(2), `${AGENT_DIRECTORY}/agent`],
    ...['--bind', source(0), '/workspace'],
    ...['--bind', source(1), '/home/user'],
    /* What is left writable has a size: the root, /dev and the agent's directory have none or need none. */
    ...(spec.root.kind === 'image' ? ['--remount-ro', AGENT_DIRECTORY] : []),
    ...['--remount-ro', '/dev', '--remount-ro', '/'],
    ...['--chdir', '/'],
  ];
  return { bwrapArguments: list, stagedPaths: staged ? paths : [] };
}
