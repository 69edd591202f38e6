/** From a request to the stack that will run: the user's Compose file, checked, or one idle service. */
import type { SandboxSpec } from '../../ports/extension.ts';
import { ExtensionError } from '../../ports/extension.ts';
import { type CheckedStack, checkComposeFile } from './compose-file.ts';
import type { ComposeConfig, ComposeRequest } from './config.ts';
import { findComposeFile, refuseLinkedPaths, repositoryDirectory } from './repository.ts';

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

function idleStack(image: string): CheckedStack {
  const text = JSON.stringify({
    services: {
      canary: { image, command: ['sh', '-c', IDLE.replaceAll('$', '$$$$')], working_dir: '/tmp', init: true },
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
  const stack = await checkedStack(request, config);
  const repository = request.repository === null ? null : await repositoryDirectory(request.repository);
  if (repository !== null) await refuseLinkedPaths(repository, stack.workspacePaths);
  return {
    repository,
    stack,
    service: chosenService(stack, request.service),
    finishing: finishingServices(stack),
  };
}

async function checkedStack(request: ComposeRequest, config: ComposeConfig): Promise<CheckedStack> {
  if (request.repository === null) return idleStack(config.canaryImage);
  const repository = await repositoryDirectory(request.repository);
  const { path, text } = await findComposeFile(repository, request.composeFile);
  return checkComposeFile(text, path, request.allowed, request.variables);
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
