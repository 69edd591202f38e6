/** Making one stack on its host. A crash at any point leaves a thing with a name and a deadline there. */
import { ExtensionError, type ProvisionRequest } from '../../ports/extension.ts';
import type { HostClient, Place } from './client.ts';
import { renderStack } from './compose-file-render.ts';
import { readRequest } from './config.ts';
import { upError } from './errors.ts';
import { listRepository, refuseLinkedPaths } from './repository.ts';
import type { PlannedStack } from './stack.ts';
import type { StackRecord } from './status.ts';
import { filesOnHost } from './workspace.ts';

const UPLOAD_MS = 10 * 60_000;
const UP_MS = 20 * 60_000;
const COMPOSE_FILE = 'compose.yaml';

export interface MakeRequest {
  readonly request: ProvisionRequest;
  readonly planned: PlannedStack;
}

export function recordOf({ request, planned }: MakeRequest): StackRecord {
  const ports = planned.stack.services.find(({ name }) => name === planned.service)?.ports ?? [];
  return {
    tags: request.tags,
    service: planned.service,
    finishing: [...planned.finishing],
    ports: [...ports],
    pauseMaxS: readRequest(request.spec).pauseMaxS,
  };
}

/** Runs Compose on the stack's file to its end. */
export async function compose(
  client: HostClient,
  place: Place,
  words: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const { compose: program } = await client.engine(signal);
  const file = client.statePath(place, COMPOSE_FILE);
  const all = [...program, '-p', place.name, '-f', file, '--env-file', '/dev/null', ...words];
  const result = await client.up(place, all, UP_MS, signal);
  if (result.exitCode === 0) return;
  if (signal.aborted) throw new ExtensionError('ambiguous', 'Bringing the stack up was given up.');
  throw upError(result.stderr);
}

export const UP_WORDS = ['up', '-d', '--remove-orphans'] as const;

export function recordText(record: StackRecord): string {
  return `${JSON.stringify(record)}\n`;
}

async function upload(client: HostClient, place: Place, { request, planned }: MakeRequest): Promise<void> {
  if (planned.repository === null) return;
  const files = await listRepository(planned.repository, readRequest(request.spec), request.signal);
  await client.link.upload({
    from: planned.repository,
    to: place.directory,
    files,
    signal: request.signal,
    timeoutMs: UPLOAD_MS,
  });
}

export function composeText(place: Place, { request, planned }: MakeRequest): string {
  const { resources, network } = request.spec;
  return renderStack(planned.stack, {
    name: request.name,
    epoch: request.epoch,
    tags: request.tags,
    workspaceDirectory: place.directory,
    memoryMb: resources.memoryMb,
    cpu: resources.cpu,
    processes: resources.processes,
    networkDeny: network.default === 'deny',
  });
}

/** Files, then the stack, in a place that was prepared. */
export async function makeStack(client: HostClient, place: Place, making: MakeRequest): Promise<StackRecord> {
  const { signal } = making.request;
  await upload(client, place, making);
  /* What was checked here may have changed on its way: nothing runs there yet, so this look is the last word. */
  await refuseLinkedPaths(filesOnHost(client, place, signal), making.planned.stack.workspacePaths);
  await compose(client, place, UP_WORDS, signal);
  return recordOf(making);
}
