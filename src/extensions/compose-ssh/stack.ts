/** From a request to the stack that will run: the user's Compose file, checked, or one idle service. */
import type { SandboxSpec } from '../../ports/extension.ts';
import { ExtensionError } from '../../ports/extension.ts';
import { type CheckedStack, checkComposeFile } from './compose-file.ts';
import type { ComposeConfig, ComposeRequest } from './config.ts';
import {
  findComposeFile,
  noComposeFile,
  refuseLinkedPaths,
  repositoryDirectory,
  repositoryFiles,
  type WorkspaceFiles,
} from './repository.ts';

export interface PlannedStack {
  readonly repository: string | null;
  readonly stack: CheckedStack;
  /** What commands and files go to unless they say otherwise. */
  readonly service: string;
  /** Services that others wait for until they have ended with 0. */
  readonly finishing: readonly string[];
}

/** Waits for its end and takes signals, so that it ends at once. */
const IDLE = 'trap "exit 0" TERM INT; while :; do sleep 3600 & wait $!; done';

function idleStack(image: string, more: object = { working_dir: '/tmp' }): CheckedStack {
  const text = JSON.stringify({
    services: {
      canary: { image, command: ['sh', '-c', IDLE.replaceAll('$', '$$$$')], init: true, ...more },
    },
  });
  return checkComposeFile(text, 'canary', new Set());
}

function finishingServices(stack: CheckedStack): readonly string[] {
  const waited = stack.services.flatMap(({ definition }) => {
    const needs = definition.depends_on;
    if (needs === undefined || typeof needs !== 'object' || needs === null || Array.isArray(needs)) return [];
    return Object.entries(needs)
      .filter(([, need]) => (need as { condition?: string }).condition === 'service_completed_successfully')
      .map(([name]) => name);
  });
  return [...new Set(waited)];
}

function chosenService(stack: CheckedStack, asked: string | null): string {
  const names = stack.services.map(({ name }) => name);
  if (asked === null) return names[0]!;
  if (names.includes(asked)) return asked;
  throw new ExtensionError(
    'invalid',
    `The Compose file has no service "${asked}"; it has ${names.join(', ')}.`,
  );
}

/** Reads and checks; asks nothing of any host. */
export async function planStack(request: ComposeRequest, config: ComposeConfig): Promise<PlannedStack> {
  if (request.repository === null) return planned(request, null, idleStack(config.canaryImage));
  const repository = await repositoryDirectory(request.repository);
  const stack = await checkedStack(request, repositoryFiles(repository));
  if (stack === null) throw noComposeFile();
  return planned(request, repository, stack);
}

/** The same for a workspace that was restored. Without a Compose file it is shown to one idle service. */
export async function planRestoredStack(
  request: ComposeRequest,
  config: ComposeConfig,
  files: WorkspaceFiles,
): Promise<PlannedStack> {
  const shown = { volumes: ['./:/workspace'], working_dir: '/workspace' };
  return planned(request, null, (await checkedStack(request, files)) ?? idleStack(config.canaryImage, shown));
}

function planned(request: ComposeRequest, repository: string | null, stack: CheckedStack): PlannedStack {
  return {
    repository,
    stack,
    service: chosenService(stack, request.service),
    finishing: finishingServices(stack),
  };
}

/** Null where there is no Compose file. */
async function checkedStack(request: ComposeRequest, files: WorkspaceFiles): Promise<CheckedStack | null> {
  const found = await findComposeFile(files, request.composeFile);
  if (found === null) return null;
  const stack = checkComposeFile(found.text, found.path, request.allowed, request.variables);
  await refuseLinkedPaths(files, stack.workspacePaths);
  return stack;
}

/** Refuses a spec whose rules this backend cannot keep. */
export function refuseUnkeepable(spec: SandboxSpec): void {
  if (spec.isolationLevel !== 'container' && spec.isolationLevel !== 'process') {
    throw new ExtensionError(
      'unsupported',
      `ext.compose-ssh isolates by containers; it has no ${spec.isolationLevel}.`,
    );
  }
  if (spec.network.egress.length > 0) {
    throw new ExtensionError(
      'unsupported',
      'ext.compose-ssh denies or allows the network as a whole; it cannot allow some of it.',
    );
  }
}
