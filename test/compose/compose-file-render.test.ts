/** What Compose gets means what the user wrote, with nothing published and everything labelled and limited. */
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { checkComposeFile } from '../../src/extensions/compose-ssh/compose-file.ts';
import { type RenderOptions, renderStack } from '../../src/extensions/compose-ssh/compose-file-render.ts';

const WORK = '/tmp/sandboxer/sbx-abc/work';
const OPTIONS: RenderOptions = {
  name: 'sbx-abc',
  epoch: 2,
  tags: { owner: 'a$b' },
  workspaceDirectory: WORK,
  memoryMb: null,
  cpu: null,
  processes: null,
  networkDeny: false,
};
const GOOD = `
version: "3.8"
name: shop
x-common: &common
  restart: unless-stopped
  environment: &environment
    TZ: UTC
    EMPTY: ""
    PRICE: "5 $$"
services:
  web:
    <<: *common
    build: {context: web, dockerfile: Dockerfile, args: {V: 1.5}, target: run}
    ports: ["8080:80", "127.0.0.1:9000-9001:9000-9001/udp", {target: 443, published: "8443"}]
    expose: [3000]
    environment: {<<: *environment, FLAG: yes, MODE: 0755}
    env_file: [web/.env]
    volumes:
      - ./web:/app
      - data:/data:ro
      - /cache
      - {type: bind, source: ./conf, target: /conf, read_only: true}
      - {type: tmpfs, target: /t, tmpfs: {size: 1048576}}
    depends_on: {db: {condition: service_healthy}}
    deploy:
      replicas: 2
      resources: {limits: {memory: 64M, cpus: "0.5", pids: 50}}
      restart_policy: {condition: on-failure, max_attempts: 3}
    networks: {front: {aliases: [www]}, default: }
    command: ["sh", "-c", "echo $$HOME; exec sleep 1000"]
  db:
    image: postgres:15
    command: postgres -c fsync=off
    user: 0
    healthcheck: {test: ["CMD", "pg_isready"], interval: 5s, retries: 3}
    volumes: [db:/var/lib]
    ulimits: {nofile: {soft: 100, hard: 200}, nproc: 5}
    tmpfs: /run:size=1m
    extra_hosts: ["a:1.2.3.4"]
    logging: {driver: json-file, options: {max-size: 1m}}
    labels: [mine=1]
  worker:
    extends: {service: db}
    secrets: [key]
    deploy: {restart_policy: {condition: on-failure, max_attempts: 3}}
volumes: {data: , db: {labels: {a: b}}}
networks: {front: {}}
secrets: {key: {file: ./secrets/key}}
`;

const stack = checkComposeFile(GOOD, 'compose.yaml', new Set());
const render = (options: Partial<RenderOptions> = {}, text = GOOD) =>
  parse(renderStack(checkComposeFile(text, 'compose.yaml', new Set()), { ...OPTIONS, ...options }));
const MARKS = { 'sandboxer.name': 'sbx-abc', 'sandboxer.epoch': '2', 'sandboxer.tag.owner': 'a$$b' };

describe('a good file', () => {
  it('is told about as it is', () => {
    expect(stack.services.map(({ definition, ...rest }) => rest)).toEqual([
      {
        name: 'web',
        image: null,
        builds: true,
        ports: [80, 443, 3000, 9000, 9001],
        namedVolumes: ['data'],
        hasHealthcheck: false,
        replicas: 2,
      },
      {
        name: 'db',
        image: 'postgres:15',
        builds: false,
        ports: [],
        namedVolumes: ['db'],
        hasHealthcheck: true,
        replicas: 1,
      },
      {
        name: 'worker',
        image: 'postgres:15',
        builds: false,
        ports: [],
        namedVolumes: [],
        hasHealthcheck: true,
        replicas: 1,
      },
    ]);
    expect(stack.volumes).toEqual(['data', 'db']);
    expect(stack.networks).toEqual(['front']);
    expect(stack.workspacePaths).toEqual(['conf', 'secrets/key', 'web', 'web/.env', 'web/Dockerfile']);
  });

  it('means the same afterwards, on the host and for every Compose', () => {
    expect(render()).toEqual({
      services: {
        web: {
          build: {
            context: `${WORK}/web`,
            dockerfile: `${WORK}/web/Dockerfile`,
            args: { V: '1.5' },
            target: 'run',
            labels: { 'sandboxer.name': 'sbx-abc' },
          },
          image: 'sbx-abc-web',
          expose: ['3000'],
          environment: { FLAG: 'yes', MODE: '493', TZ: 'UTC', EMPTY: '', PRICE: '5 $$' },
          env_file: [`${WORK}/web/.env`],
          volumes: [
            `${WORK}/web:/app`,
            'data:/data:ro',
            '/cache',
            { type: 'bind', source: `${WORK}/conf`, target: '/conf', read_only: true },
            { type: 'tmpfs', target: '/t', tmpfs: { size: 1_048_576 } },
          ],
          depends_on: { db: { condition: 'service_healthy' } },
          networks: { front: { aliases: ['www'] }, default: null },
          command: ['sh', '-c', 'echo $$HOME; exec sleep 1000'],
          restart: 'unless-stopped',
          scale: 2,
          mem_limit: '64m',
          memswap_limit: '64m',
          cpus: 0.5,
          pids_limit: 50,
          labels: MARKS,
        },
        db: {
          image: 'postgres:15',
          command: 'postgres -c fsync=off',
          user: '0',
          healthcheck: { test: ['CMD', 'pg_isready'], interval: '5s', retries: 3 },
          volumes: ['db:/var/lib'],
          ulimits: { nofile: { soft: 100, hard: 200 }, nproc: 5 },
          tmpfs: ['/run:size=1m'],
          extra_hosts: ['a:1.2.3.4'],
          logging: { driver: 'json-file', options: { 'max-size': '1m' } },
          labels: { mine: '1', ...MARKS },
        },
        worker: {
          extends: { service: 'db' },
          secrets: ['key'],
          restart: 'on-failure:3',
          scale: 1,
          labels: MARKS,
        },
      },
      networks: { default: { labels: MARKS }, front: { labels: MARKS } },
      volumes: { data: { labels: MARKS }, db: { labels: { a: 'b', ...MARKS } } },
      secrets: { key: { file: `${WORK}/secrets/key` } },
    });
  });

  it('has no keys that Compose 1.29 refuses, publishes nothing, and quotes every word', () => {
    const text = renderStack(stack, OPTIONS);
    for (const key of ['deploy', 'ports', 'name', 'version', 'x-common'])
      expect(text).not.toContain(`"${key}":`);
    expect(text).not.toMatch(/[&*!]|<</);
    expect(text).toContain('"FLAG": "yes"');
  });
});

describe('limits', () => {
  const limitsOf = (file: { services: Record<string, Record<string, unknown>> }) =>
    Object.values(file.services).map(({ mem_limit, memswap_limit, cpus, pids_limit }) => [
      ...[mem_limit, memswap_limit, cpus, pids_limit],
    ]);

  it('of the sandbox are shared equally by its containers, and smaller ones of the file are kept', () => {
    expect(limitsOf(render({ memoryMb: 1_000, cpu: 4, processes: 402 }))).toEqual([
      ['64m', '64m', 0.5, 50],
      ['250m', '250m', 1, 100],
      ['250m', '250m', 1, 100],
    ]);
    expect(limitsOf(render({ memoryMb: 100, cpu: 1, processes: 100 }))).toEqual([
      ['25m', '25m', 0.25, 25],
      ['25m', '25m', 0.25, 25],
      ['25m', '25m', 0.25, 25],
    ]);
  });

  it('of the file hold without any of the profile; "no limit" is none', () => {
    const text = 'services: {x: {image: a, mem_limit: 1.5g, pids_limit: 7}, y: {image: a, mem_limit: 0}}\n';
    expect(limitsOf(render({ memoryMb: 8_192 }, text))).toEqual([
      ['1536m', '1536m', undefined, 7],
      ['4096m', '4096m', undefined, undefined],
    ]);
  });

  it('too small to be shared are refused', () => {
    for (const small of [{ memoryMb: 8 }, { cpu: 0.03 }, { processes: 7 }])
      expect(() => render(small)).toThrow(/too small for the 4 containers/);
  });
});

describe('a denied network', () => {
  it('leaves internal networks only, declared or not', () => {
    const { networks } = render({ networkDeny: true });
    expect(Object.values(networks).map((network) => (network as { internal: boolean }).internal)).toEqual([
      true,
      true,
    ]);
    const open = 'services: {x: {image: a}}\nnetworks: {default: {internal: false}}\n';
    expect(render({ networkDeny: true }, open).networks.default.internal).toBe(true);
  });
});

describe('a workspace', () => {
  it('may lie where `$` is in the path, and not where a colon is', () => {
    const text = 'services: {x: {image: a, volumes: [".:/x"]}}\n';
    expect(render({ workspaceDirectory: '/tmp/a$b/' }, text).services.x.volumes).toEqual(['/tmp/a$$b:/x']);
    for (const workspaceDirectory of ['relative', '/tmp/a:b', '/tmp/a\nb'])
      expect(() => render({ workspaceDirectory }, text)).toThrow(/absolute path/);
  });
});

describe('an image that is built', () => {
  const BUILT = `
services:
  base: {build: ., image: "somebody/elses:1", pull_policy: build}
  child: {extends: {service: base}, image: "somebody/elses:2"}
`;

  it("moves no tag of somebody else's, itself or by the service that it extends", () => {
    const { services } = render({}, BUILT) as { services: Record<string, { image: string }> };
    expect([services.base?.image, services.child?.image]).toEqual(['sbx-abc-base', 'sbx-abc-child']);
  });

  it('is built without a network where the profile denies it', () => {
    const { services } = render({ networkDeny: true }, BUILT) as {
      services: Record<string, { build: { network: string } }>;
    };
    expect(services.base?.build.network).toBe('none');
  });
});

it('paths begin where the file lies', () => {
  const text = 'services: {web: {build: .., volumes: ["../:/all:ro", "./conf:/conf"]}}';
  const nested = checkComposeFile(text, 'e2e/compose.yml', new Set(['nested_binds']));
  const { services } = parse(renderStack(nested, OPTIONS)) as {
    services: { web: { build: { context: string }; volumes: string[] } };
  };
  expect(services.web.build.context).toBe(WORK);
  expect(services.web.volumes).toEqual([`${WORK}:/all:ro`, `${WORK}/e2e/conf:/conf`]);
  expect(() => checkComposeFile('services: {web: {build: ../..}}', 'e2e/compose.yml', new Set())).toThrow(
    /leads out of the workspace/,
  );
});
