import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { SupervisorAnswer, SupervisorRequest } from './supervisor.ts';

export interface SupervisorClient {
  boot(host: number): Promise<number>;
  halt(host: number): Promise<void>;
  /** Takes the lab away and waits until it is gone. */
  end(): Promise<void>;
}

export interface SupervisorOptions {
  readonly directory: string;
  readonly number: number;
  readonly hosts: number;
  /** Empty for hosts without Docker Compose. */
  readonly composePlugin: string;
  /** The user that the hosts' sshd lets in. */
  readonly login: string;
}

interface Waiting {
  resolve(answer: SupervisorAnswer): void;
  reject(error: Error): void;
}

export function startSupervisor(options: SupervisorOptions): SupervisorClient {
  const program = [process.execPath, join(import.meta.dirname, 'supervisor.ts')];
  const { directory, number, hosts, composePlugin, login } = options;
  const argv = [directory, String(number), String(hosts), composePlugin, login];
  const child = spawn('unshare', ['--mount', ...program, ...argv], {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
    env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' },
    cwd: '/',
  });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  const waiting = new Map<string, Waiting>();
  const keyOf = ({ action, host }: SupervisorRequest) => `${action} ${host}`;
  createInterface({ input: child.stdout }).on('line', (line) => {
    const answer = JSON.parse(line) as SupervisorAnswer & SupervisorRequest;
    const asked = waiting.get(keyOf(answer));
    waiting.delete(keyOf(answer));
    if (answer.error === undefined) asked?.resolve(answer);
    else asked?.reject(new Error(answer.error));
  });
  const ended = new Promise<void>((resolve, reject) => {
    const settle = (code: number | null) => {
      const error = new Error(`The lab's supervisor ended with ${code}: ${complaint.trim()}`);
      if (code === 0) resolve();
      else reject(error);
    };
    child.once('error', reject);
    child.once('close', settle);
  });
  // Whoever waits for a request or for the end is told.
  ended.catch(() => undefined);
  child.stdin.on('error', (error) => {
    complaint += String(error);
  });
  const ask = (request: SupervisorRequest) =>
    new Promise<SupervisorAnswer>((resolve, reject) => {
      waiting.set(keyOf(request), { resolve, reject });
      ended.then(() => reject(new Error('The lab has ended.')), reject);
      child.stdin.write(`${JSON.stringify(request)}\n`);
    });
  return {
    boot: async (host) => (await ask({ action: 'boot', host })).pid!,
    halt: async (host) => void (await ask({ action: 'halt', host })),
    end: () => {
      child.stdin.end();
      return ended;
    },
  };
}
