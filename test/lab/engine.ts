/** The engine of a host, asked over its socket from outside: the truth, not what the code under test says. */
import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const READY_WITHIN_MS = 15_000;
const DEFAULT_NETWORKS = ['bridge', 'host', 'none'];
const PROJECT_LABEL = 'com.docker.compose.project';

export interface EngineContainer {
  readonly name: string;
  readonly image: string;
  /** `running`, `exited`, … */
  readonly state: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface Engine {
  start(): Promise<void>;
  /** The engine stops its containers first; with `kill` they go on, until the next start ends them. */
  stop(options?: { kill?: boolean }): Promise<void>;
  /** It accepts connections and does not answer. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  load(tar: Uint8Array): Promise<void>;
  containers(): Promise<readonly EngineContainer[]>;
  composeProjects(): Promise<readonly string[]>;
  volumes(): Promise<readonly string[]>;
  networks(): Promise<readonly string[]>;
}

/** The host's namespaces: its first process, and a command line that runs something inside. */
export interface Inside {
  pid(): number;
  shell(script: string): Promise<string>;
}

type Method = 'GET' | 'POST';

function call(socketPath: string, method: Method, path: string, body?: Uint8Array): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/x-tar' };
    const sent = request({ socketPath, method, path, headers, timeout: 10_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.once('error', reject);
      response.once('end', () => {
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`));
      });
    });
    sent.once('timeout', () => sent.destroy(new Error(`${method} ${path}: no answer`)));
    sent.once('error', reject);
    sent.end(body);
  });
}

async function waitUntilReady(inside: Inside, socketPath: () => string): Promise<void> {
  const deadlineMs = performance.now() + READY_WITHIN_MS;
  for (;;) {
    try {
      await call(socketPath(), 'GET', '/_ping');
      return;
    } catch (error) {
      if (performance.now() < deadlineMs) await sleep(20);
      else
        throw new Error(`The engine did not start: ${await inside.shell(`tail -n 5 ${LOG}`)}`, {
          cause: error,
        });
    }
  }
}

/** One of them may have ended by the end of the other. */
const signalled = (signal: string, files: string) =>
  `for file in ${files}; do read -r pid <"$file"; kill -${signal} "$pid" || [ ! -d "/proc/$pid" ]; done`;
const gone = (file: string) => `read -r pid <${file}; while [ -d "/proc/$pid" ]; do sleep 0.02; done`;
const DAEMON = '/run/docker.pid';
const LOG = '/var/log/dockerd.log';
const BOTH = `${DAEMON} /run/docker/containerd/containerd.pid`;

export function createEngine(inside: Inside, cgroupParent: string): Engine {
  const socketPath = () => `/proc/${inside.pid()}/root/run/docker.sock`;
  const list = async <T>(path: string) => JSON.parse(await call(socketPath(), 'GET', path)) as T;
  const containers = async (): Promise<EngineContainer[]> => {
    const rows =
      await list<{ Names: string[]; Image: string; State: string; Labels: Record<string, string> }[]>(
        '/containers/json?all=1',
      );
    return rows.map((row) => ({
      name: row.Names[0]!.slice(1),
      image: row.Image,
      state: row.State,
      labels: row.Labels,
    }));
  };
  return {
    containers,
    async start() {
      const flags = `--config-file /run/lab-docker.json --log-level warn --cgroup-parent ${cgroupParent}`;
      await inside.shell(
        `rm -f ${DAEMON}; echo {} >/run/lab-docker.json; setsid dockerd ${flags} >>${LOG} 2>&1 </dev/null &`,
      );
      await waitUntilReady(inside, socketPath);
    },
    async stop({ kill = false } = {}) {
      await inside.shell(kill ? signalled('KILL', BOTH) : `${signalled('TERM', DAEMON)}; ${gone(DAEMON)}`);
    },
    pause: async () => void (await inside.shell(signalled('STOP', DAEMON))),
    resume: async () => void (await inside.shell(signalled('CONT', DAEMON))),
    load: async (tar) => void (await call(socketPath(), 'POST', '/images/load?quiet=1', tar)),
    composeProjects: async () => {
      const names = (await containers()).flatMap(({ labels }) => labels[PROJECT_LABEL] ?? []);
      return [...new Set(names)].sort();
    },
    volumes: async () => {
      const { Volumes } = await list<{ Volumes: { Name: string }[] | null }>('/volumes');
      return (Volumes ?? []).map(({ Name }) => Name).sort();
    },
    networks: async () => {
      const rows = await list<{ Name: string }[]>('/networks');
      return rows
        .map(({ Name }) => Name)
        .filter((name) => !DEFAULT_NETWORKS.includes(name))
        .sort();
    },
  };
}
