/** Small repositories with a compose stack each, written into a directory. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { DATA_IMAGE, WEB_IMAGE } from './images.ts';

type Service = Readonly<Record<string, unknown>>;

export interface StackManifest {
  readonly name: string;
  readonly compose_file: string;
  readonly health_checks: readonly unknown[];
  readonly test_command: string;
  /** Seconds. */
  readonly timeout: number;
  readonly cleanup: 'always' | 'on_success' | 'never';
}

export interface StackOptions {
  /** Fields of `e2e/e2e.yml` instead of the usual ones. */
  readonly manifest?: Partial<StackManifest>;
  /** False: no `e2e/e2e.yml`, and `compose.yml` at the root. */
  readonly e2e?: boolean;
}

const check = (test: string): Service => ({
  test: ['CMD', ...test.split(' ')],
  interval: '300ms',
  timeout: '2s',
  retries: 3,
});
const WEB: Service = { image: WEB_IMAGE, healthcheck: check('wget -q -O /dev/null http://127.0.0.1:8080/') };
const DATA: Service = {
  image: DATA_IMAGE,
  volumes: ['data:/data'],
  healthcheck: check('data-ping'),
};

function writeStack(directory: string, content: object, options: StackOptions): void {
  const { e2e = true } = options;
  const folder = e2e ? join(directory, 'e2e') : directory;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(directory, 'README.md'), 'A repository of the lab.\n');
  writeFileSync(join(folder, 'compose.yml'), stringify(content));
  if (!e2e) return;
  const manifest: StackManifest = {
    name: 'lab',
    compose_file: 'e2e/compose.yml',
    health_checks: [],
    test_command: 'docker compose -f e2e/compose.yml exec -T web wget -q -O - http://127.0.0.1:8080/',
    timeout: 60,
    cleanup: 'always',
    ...options.manifest,
  };
  writeFileSync(join(folder, 'e2e.yml'), stringify(manifest));
}

const one = (extra: Service) => ({ services: { web: { ...WEB, ...extra } } });

export const STACKS = {
  /** A web server and a data server with a named volume; the web server waits for the data server's health. */
  webAndData: {
    services: { web: { ...WEB, depends_on: { data: { condition: 'service_healthy' } } }, data: DATA },
    volumes: { data: {} },
  },
  web: one({}),
  /** Is there again after its host was rebooted. */
  comesBack: one({ restart: 'always' }),
  /** One service that may write to the repository and to a named volume. */
  writesBoth: {
    services: { data: { ...DATA, volumes: ['data:/data', '../:/workspace'] } },
    volumes: { data: {} },
  },
  /** Exits with 3 after a moment, again and again. */
  crashLoop: one({ command: ['sh', '-c', 'echo about to crash; sleep 0.2; exit 3'], restart: 'always' }),
  /** Runs, and its health check fails. */
  unhealthy: one({ healthcheck: check('false') }),
  missingImage: one({ image: 'sandboxer-lab/does-not-exist:1' }),
  privileged: one({ privileged: true }),
  bindsRoot: one({ volumes: ['/:/outside'] }),
  bindsEngineSocket: one({ volumes: ['/var/run/docker.sock:/var/run/docker.sock'] }),
  hostNetwork: one({ network_mode: 'host' }),
  hostPid: one({ pid: 'host' }),
  addsCapability: one({ cap_add: ['SYS_ADMIN'] }),
  /** Publishes on every address of the host. */
  publishesPort: one({ ports: ['8080:8080'] }),
  /** Serves the repository itself, which is bound into the container. */
  servesRepository: one({
    volumes: ['../:/workspace:ro'],
    command: ['httpd', '-f', '-p', '8080', '-h', '/workspace'],
    healthcheck: check('wget -q -O /dev/null http://127.0.0.1:8080/README.md'),
  }),
} as const;

export type StackName = keyof typeof STACKS;

export function writeRepository(directory: string, stack: StackName, options: StackOptions = {}): void {
  writeStack(directory, STACKS[stack], options);
}
