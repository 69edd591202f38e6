/** Starts the simulated backend as its own process, and tells a backend which faults to do. */
import { type ChildProcess, spawn } from 'node:child_process';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FaultRuleInput } from '../../src/extensions/simulated/config.ts';

const PROGRAM = join(import.meta.dirname, 'simulated-backend-process.ts');

export interface BackendProcess {
  readonly socketPath: string;
  readonly pid: number;
  /** What the extension needs in its environment to use this process. */
  readonly environment: Readonly<Record<string, string>>;
  /** SIGKILL: nothing that was answered may be lost. */
  kill(): Promise<void>;
  /** SIGTERM. */
  stop(): Promise<void>;
}

/** Resolves when it listens. Starting it again on the same directory goes on with the same truth. */
export async function startSimulatedBackend(
  directory: string,
  socketPath: string = join(directory, 'backend.sock'),
): Promise<BackendProcess> {
  const child = spawn(process.execPath, [PROGRAM, directory, socketPath], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the simulated backend ended with ${code}`)));
  });
  return {
    socketPath,
    pid: child.pid ?? 0,
    environment: { SANDBOXER_SIMULATED_SOCKET: socketPath },
    kill: () => end(child, 'SIGKILL'),
    stop: () => end(child, 'SIGTERM'),
  };
}

function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill(signal);
  });
}

/** Replaces the rules of `faults.yaml`; takes effect at the next call, in every process on the directory. */
export function setFaults(directory: string, rules: readonly FaultRuleInput[]): void {
  const file = join(directory, 'faults.yaml');
  writeFileSync(`${file}.new`, JSON.stringify(rules));
  renameSync(`${file}.new`, file);
}
