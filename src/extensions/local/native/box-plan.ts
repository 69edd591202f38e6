/** The file system of one sandbox as the steps that `agent/launch_box.c` takes. Pure: the host comes in by the spec. */
export interface BoxSpec {
  readonly sandboxDir: string;
  readonly workspace: Workspace;
  /** Directory in `sandboxDir` that is `/home/user`. */
  readonly homeName: string;
  /** From `prepareEtcDirectory`, once for all sandboxes; becomes `/etc` of those without an image. */
  readonly etc: PreparedEtc;
  readonly root: SandboxRoot;
  readonly tmpBytes: number;
  /** `ranged`: there is a root inside, who has a home. */
  readonly mode: 'ranged' | 'single';
}

/** What `/workspace` is. */
export type Workspace =
  /** A directory in `sandboxDir`. */
  | { readonly kind: 'own'; readonly name: string }
  /**
   * A directory shared with other sandboxes, whose ids are those inside, and two directories in `sandboxDir` for what this
   * sandbox changes of it; in `ranged` mode only. No path of theirs holds a character of `LAYER_PATH_FORBIDS`.
   */
  | { readonly kind: 'layered'; readonly shared: string; readonly upper: string; readonly work: string };

/** What the launcher calls the step that fails where this kernel or file system cannot lay directories over each other. */
export const LAYER_STEP = 'show a shared directory';

/** An overlay takes its directories as a list of its own syntax. */
export const LAYER_PATH_FORBIDS = /[:,\\]/;

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

const RUN_BYTES = 16 * 1024 * 1024;

/** A kind and its words; a path inside begins at the new root, without a slash in front. */
type Step =
  | readonly ['B' | 'R', inside: string, source: string]
  | readonly ['D' | 'P' | 'V' | 'O', inside: string]
  | readonly ['L', inside: string, target: string]
  | readonly ['Y', inside: string, shared: string, upper: string, work: string]
  | readonly ['T', inside: string, bytes: string, mode: string];

const inside = (path: string): string => path.slice(1);
const directory = (path: string): Step => ['D', path];
const temporary = (path: string, bytes: number, mode: string): Step => ['T', path, String(bytes), mode];

/** The first step is the root itself; the parents of every mount stand before it. */
function hostRoot(spec: BoxSpec, root: SandboxRoot & { kind: 'host' }): Step[] {
  return [
    temporary('.', 0, '755'),
    ...['usr', 'etc', 'proc', 'dev', 'tmp', 'run', 'var', 'home', 'home/user', 'workspace'].map(directory),
    ['R', 'usr', '/usr'],
    ...root.links.map(({ path, target }): Step => ['L', inside(path), target]),
    ...root.directories.flatMap((path): Step[] => [directory(inside(path)), ['R', inside(path), path]]),
    ['R', 'etc', spec.etc.directory],
    ...spec.etc.binds.map((path): Step => ['R', inside(path), path]),
    ...(spec.mode === 'ranged' ? [directory('root')] : []),
    ['L', 'var/tmp', '../tmp'],
  ];
}

function imageRoot(spec: BoxSpec, root: SandboxRoot & { kind: 'image' }): Step[] {
  return [
    ['R', '.', root.directory],
    temporary('var/tmp', spec.tmpBytes, '1777'),
    temporary('run', RUN_BYTES, '755'),
  ];
}

function workspace({ sandboxDir, workspace: made }: BoxSpec): Step {
  if (made.kind === 'own') return ['B', 'workspace', `${sandboxDir}/${made.name}`];
  return ['Y', 'workspace', made.shared, `${sandboxDir}/${made.upper}`, `${sandboxDir}/${made.work}`];
}

function steps(spec: BoxSpec): Step[] {
  return [
    ...(spec.root.kind === 'host' ? hostRoot(spec, spec.root) : imageRoot(spec, spec.root)),
    ['P', 'proc'],
    ['V', 'dev'],
    temporary('dev/shm', spec.tmpBytes, '1777'),
    temporary('tmp', spec.tmpBytes, '1777'),
    ...(spec.mode === 'ranged' ? [temporary('root', spec.tmpBytes, '700')] : []),
    workspace(spec),
    ['B', 'home/user', `${spec.sandboxDir}/${spec.homeName}`],
    /* What is left writable has a size. */
    ['O', 'dev'],
    ['O', '.'],
  ];
}

/** One string for each step, its words apart by a zero byte. */
export function boxSteps(spec: BoxSpec): readonly string[] {
  return steps(spec).map((step) => step.join('\0'));
}
