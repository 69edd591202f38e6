// biome-ignore-all lint/suspicious/noTemplateCurlyInString: Compose's variables, not templates
/** What a user's Compose file may not do to the host, and that the rest of it means the same afterwards. */
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { checkComposeFile } from '../../src/extensions/compose-ssh/compose-file.ts';
import { type RenderOptions, renderStack } from '../../src/extensions/compose-ssh/compose-file-render.ts';

const check = (text: string, allowed: readonly string[] = [], variables: Record<string, string> = {}) =>
  checkComposeFile(text, 'compose.yaml', new Set(allowed), variables);

const OPTIONS: RenderOptions = {
  name: 'sbx-abc',
  epoch: 2,
  tags: { owner: 'a$b' },
  workspaceDirectory: '/tmp/sandboxer/sbx-abc/work',
  memoryMb: null,
  cpu: null,
  processes: null,
  networkDeny: false,
};
const render = (text: string, options: Partial<RenderOptions> = {}, allowed: readonly string[] = []) =>
  parse(renderStack(check(text, allowed), { ...OPTIONS, ...options }));

/** A file whose service "x" has these lines from line 4 on. */
const service = (...lines: string[]) =>
  ['services:', '  x:', '    image: busybox', ...lines.map((line) => `    ${line}`), ''].join('\n');

/** The message of the refusal; fails when there is none. */
function refusal(
  text: string,
  allowed: readonly string[] = [],
  variables: Record<string, string> = {},
): string {
  try {
    check(text, allowed, variables);
  } catch (error) {
    expect(error).toMatchObject({ name: 'ExtensionError', kind: 'invalid' });
    return (error as Error).message;
  }
  throw new Error(`was not refused:\n${text}`);
}

describe('a key that reaches out of the container is refused with its line', () => {
  it.each([
    ['privileged: true', []],
    ['privileged: false', []],
    ['pid: host', []],
    ['ipc: host', []],
    ['uts: host', []],
    ['userns_mode: host', []],
    ['cgroup: host', []],
    ['cgroup_parent: /', []],
    ['runtime: other', []],
    ['gpus: all', []],
    ['group_add:', ['  - docker']],
    ['oom_score_adj: -1000', []],
    ['cap_add:', ['  - SYS_ADMIN']],
    ['devices:', ['  - /dev/sda:/dev/sda']],
    ['device_cgroup_rules:', ['  - a *:* rwm']],
    ['sysctls:', ['  net.core.somaxconn: 1']],
    ['volumes_from:', ['  - container:other']],
    ['external_links:', ['  - other']],
    ['links:', ['  - x']],
    ['container_name: db', []],
    ['network_mode: host', []],
    ['network_mode: bridge', []],
    ['network_mode: container:other', []],
    ['develop:', ['  watch: []']],
    ['credential_spec:', ['  file: x']],
    ['blkio_config:', ['  weight: 1']],
    ['cpu_rt_runtime: 1', []],
    ['isolation: x', []],
    ['mac_address: 02:00:00:00:00:01', []],
    ['domainname: x', []],
    ['annotations:', ['  a: b']],
    ['storage_opt:', ['  size: 1G']],
    ['post_start:', ['  - command: id', '    privileged: true']],
    ['provider:', ['  type: x']],
    ['use_api_socket: true', []],
    ['volume_driver: x', []],
    ['log_driver: x', []],
    ['net: host', []],
    ['dockerfile: x', []],
    ['extends:', ['  service: x', '  file: other.yaml']],
    ['hostname: "--privileged"', []],
  ])('%s', (line, more) => {
    expect(refusal(service('tty: true', line, ...more))).toMatch(
      line.startsWith('extends')
        ? /^compose\.yaml:7: service "x": `extends\.file`|^compose\.yaml:7: service "x": `extends` may/
        : /^compose\.yaml:5: service "x": `\w+`.* .*[.?]$/,
    );
  });

  it.each([
    ['security_opt:', '- seccomp:unconfined', /only no-new-privileges/],
    ['security_opt:', '- apparmor=unconfined', /only no-new-privileges/],
    ['security_opt:', '- no-new-privileges:false', /only no-new-privileges/],
    ['extra_hosts:', '- "h:host-gateway"', /addresses only/],
    ['extra_hosts:', 'h: host-gateway', /addresses only/],
    ['logging:', 'driver: syslog', /json-file, local or none/],
    ['logging:', 'options: {syslog-address: "tcp://x"}', /not supported/],
    ['labels:', 'com.docker.compose.project: other', /reserved/],
    ['labels:', '- sandboxer.name=other', /reserved/],
    ['deploy:', 'resources: {reservations: {devices: [{capabilities: [gpu]}]}}', /not supported/],
    ['deploy:', 'placement: {constraints: []}', /not supported/],
    ['deploy:', 'replicas: 100000', /whole number from 0 to 64/],
    ['tmpfs:', '- /x:dev,suid', /option "dev"/],
    ['tmpfs:', '- x', /absolute path/],
    ['networks:', 'other: {ipv4_address: 1.2.3.4}', /not supported/],
    ['networks:', '- other', /not among the file's `networks`/],
    ['depends_on:', '- other', /not among the file's `services`/],
    ['secrets:', '- other', /not among the file's `secrets`/],
    ['configs:', '- {source: other, target: "/x:rw,dev"}', /use letters/],
    ['ports:', '- "1-70000"', /not a port/],
    ['ports:', '- "80:x"', /not a port/],
  ])('%s %s', (line, inner, reason) => {
    const message = refusal(service(line, `  ${inner}`));
    expect(message).toMatch(/^compose\.yaml:[45]: service "x": /);
    expect(message).toMatch(reason);
  });

  it('with a word about what was probably meant', () => {
    expect(refusal(service('enviroment: {}'))).toBe(
      'compose.yaml:4: service "x": `enviroment` is not supported; did you mean `environment`?',
    );
    expect(refusal(service('container_name: db'))).toBe(
      'compose.yaml:4: service "x": `container_name` would collide between sandboxes; remove it, the name of the service reaches it.',
    );
    expect(refusal(service('image: --privileged').replace('    image: busybox\n', ''))).toMatch(
      /^compose\.yaml:3: service "x": `image`: not the name of an image that a stack may use\.$/,
    );
  });
});

describe('a mount of the host is refused', () => {
  it.each([
    '/:/host',
    '/etc/passwd:/x:ro',
    '~/x:/x',
    '~root/.ssh:/x',
    '../x:/x',
    './a/../../x:/x',
    './..:/x',
    '..:/x',
    '/var/run/docker.sock:/var/run/docker.sock',
    './x:/x:rshared',
    './x:/x:ro:/y',
    'a/b:/x',
    '-v:/x',
    '${HOME}:/x',
    '$HOME:/x',
    '${NONE:-/etc}:/x',
    '${NONE-..}/x:/x',
    './x${NONE:-/../..}/etc:/x',
    'C:\\:/x',
    './a\\..\\..:/x',
    './a,source=/etc:/x',
    './a:/x,bind-propagation=shared',
    'undeclared:/x',
    'relative',
  ])('short: %s', (volume) => {
    expect(refusal(service('volumes:', `- ${JSON.stringify(volume)}`))).toMatch(
      /^compose\.yaml:5: service "x": /,
    );
  });

  it.each([
    '{type: bind, source: /, target: /x}',
    '{type: bind, source: ../x, target: /x}',
    '{type: bind, source: "${P:-/etc}", target: /x}',
    '{type: bind, source: ./x, target: /x, bind: {propagation: shared}}',
    '{type: bind, source: "./x:/etc", target: /x}',
    '{type: bind, target: /x}',
    '{type: volume, source: /etc, target: /x}',
    '{type: volume, source: ./x, target: /x}',
    '{source: /etc, target: /x}',
    '{type: npipe, source: x, target: /x}',
    '{type: cluster, source: x, target: /x}',
    '{type: image, source: x, target: /x}',
    '{type: tmpfs, source: /etc, target: /x}',
    '{type: volume, source: v, target: /x, volume: {subpath: ../..}}',
    '{type: "${T:-bind}", source: /etc, target: /x}',
  ])('long: %s', (volume) => {
    expect(refusal(service('volumes:', `- ${volume}`))).toMatch(/^compose\.yaml:5: service "x": /);
  });

  it.each([
    ['volumes: {v: {driver_opts: {type: none, o: bind, device: /}}}', /driver_opts/],
    ['volumes: {v: {external: true}}', /external/],
    ['volumes: {v: {external: {name: other}}}', /external/],
    ['volumes: {v: {name: other-sandbox_data}}', /name/],
    ['volumes: {v: {driver: nfs}}', /driver/],
    ['networks: {n: {external: true}}', /external/],
    ['networks: {n: {name: bridge}}', /name/],
    ['networks: {n: {driver: macvlan}}', /driver/],
    ['networks: {n: {driver: host}}', /driver/],
    ['networks: {n: {driver_opts: {parent: eth0}}}', /driver_opts/],
    ['networks: {n: {ipam: {config: [{subnet: 10.0.0.0/8}]}}}', /ipam/],
    ['networks: {default: {external: true}}', /external/],
    ['secrets: {s: {file: /etc/shadow}}', /leads out/],
    ['secrets: {s: {file: ../x}}', /leads out/],
    ['secrets: {s: {environment: HOME}}', /environment/],
    ['secrets: {s: {external: true}}', /external/],
    ['configs: {c: {file: "${HOME}/x"}}', /HOME/],
    ['include: [../other.yaml]', /include/],
    ['models: {m: {}}', /models/],
  ])('at the top: %s', (line, reason) => {
    const message = refusal(`${service('tty: true')}${line}\n`);
    expect(message).toMatch(/^compose\.yaml:5: /);
    expect(message).toMatch(reason);
  });

  it('when a directory around it can be written to, for it could become a link', () => {
    const volumes = (...list: string[]) => service('volumes:', ...list.map((volume) => `- "${volume}"`));
    expect(refusal(volumes('.:/app', './conf/x:/etc/x:ro'))).toMatch(/compose\.yaml:6: .*"\.\/conf\/x"/);
    expect(refusal(volumes('./conf/x:/etc/x:ro', './conf:/app'))).toMatch(/compose\.yaml:5: /);
    const secret = `${volumes('.:/app')}secrets: {s: {file: ./key}}\n`;
    expect(refusal(secret)).toMatch(/compose\.yaml:6: secret "s": "\.\/key"/);
    check(volumes('.:/app:ro', './conf:/c', './con:/d'));
    check(volumes('./a:/a', './a:/b', './ab:/c'));
    check(volumes('.:/app', './conf:/c'), ['nested_binds']);
  });
});

describe('a file outside of the workspace is refused', () => {
  it.each([
    ['env_file: ../../etc/shadow'],
    ['env_file: /etc/shadow'],
    ['env_file: [a.env, "~/x"]'],
    ['env_file: "${HOME}/.env"'],
    ['env_file: [{path: ../x, required: false}]'],
    ['build: ..'],
    ['build: /'],
    ['build: https://example.com/x.git'],
    ['build: git@example.com:x'],
    ['build: github.com/a/b'],
    ['build: "${HOME}"'],
    ['build: {context: ../x}'],
    ['build: {context: ., dockerfile: ../Dockerfile}'],
    ['build: {context: ., dockerfile: /etc/passwd}'],
    ['build: {context: ., network: host}'],
    ['build: {context: ., privileged: true}'],
    ['build: {context: ., ssh: [default]}'],
    ['build: {context: ., secrets: [x]}'],
    ['build: {context: ., additional_contexts: {x: /}}'],
    ['build: {context: ., entitlements: [security.insecure]}'],
    ['build: {context: ., extra_hosts: ["h:host-gateway"]}'],
    ['build: {context: ., cache_from: ["type=local,src=/"]}'],
    ['build: {context: ., isolation: x}'],
    ['build: {context: ., labels: {com.docker.x: y}}'],
  ])('%s', (line) => {
    expect(refusal(service(line))).toMatch(/^compose\.yaml:4: service "x": /);
  });
});

describe('what YAML can hide is seen', () => {
  it('behind anchors and merge keys, with the line where it stands', () => {
    const merged = ['x-bad: &bad', '  privileged: true', 'services:', '  x: {image: a, <<: *bad}', ''].join(
      '\n',
    );
    expect(refusal(merged)).toMatch(/^compose\.yaml:2: service "x": `privileged`/);
    const list = [
      'x-a: &a {tty: true}',
      'x-b: &b {pid: host}',
      'services:',
      '  x: {image: a, <<: [*a, *b]}',
      '',
    ];
    expect(refusal(list.join('\n'))).toMatch(/^compose\.yaml:2: service "x": `pid`/);
    const aliased = ['x-v: &v ["/:/host"]', 'services: {x: {image: a, volumes: *v}}', ''].join('\n');
    expect(refusal(aliased)).toMatch(/^compose\.yaml:1: service "x": /);
    const nested = 'x-a: &a {<<: {cap_add: [ALL]}}\nservices: {x: {image: a, <<: *a}}\n';
    expect(refusal(nested)).toMatch(/`cap_add`/);
    expect(refusal('services: {x: {image: a, "<<": {pid: host}}}\n')).toMatch(/`pid`/);
  });

  it('behind a service of this file that is extended', () => {
    const text = 'services: {x: {extends: y}, y: {image: a, privileged: true}}\n';
    expect(refusal(text)).toMatch(/service "y": `privileged`/);
    expect(refusal('services: {x: {extends: {service: z}, image: a}}\n')).toMatch(/names "z"/);
    expect(refusal('services: {x: {extends: y}, y: {extends: x}}\n')).toMatch(/needs an `image`/);
  });

  it('in aliases that multiply', () => {
    const rows = ['a: &a [x, x, x, x, x, x, x, x, x, x]'];
    for (const [from, to] of ['ab', 'bc', 'cd', 'de', 'ef', 'fg', 'gh'].map((pair) => [...pair]))
      rows.push(`${to}: &${to} [${Array(10).fill(`*${from}`).join(', ')}]`);
    const begun = performance.now();
    expect(refusal(`x-bomb:\n${rows.map((row) => `  ${row}\n`).join('')}`)).toMatch(/aliases/);
    expect(refusal('x-a: &a [*a]\nservices: {x: {image: a}}\n')).toMatch(/^compose\.yaml:1: /);
    expect(performance.now() - begun).toBeLessThan(1_000);
  });

  it.each([
    ['services: {x: {image: a}, x: {image: b}}\n', /unique/i],
    ['services:\n  x:\n    image: a\n    image: b\n', /^compose\.yaml:4: .*unique/i],
    ['services:\n\tx:\n\t\timage: a\n', /^compose\.yaml:2: /],
    ['services: {1: {image: a}}\n', /must be text/],
    ['services: {x: {image: a, 5: b}}\n', /must be text/],
    ['services: {x: {image: a, [b]: c}}\n', /must be text/],
    ['services: {x: {image: a, __proto__: {privileged: true}}}\n', /__proto__/],
    ['services: {x: {image: a, environment: {constructor: b}}}\n', /constructor/],
    ['services: {x: {image: !!binary YQ==}}\n', /[Tt]ag/],
    ['services: {x: {image: a, ports: !reset []}}\n', /[Tt]ag/],
    ['services: {x: {image: a, privileged: !override true}}\n', /[Tt]ag/],
    ['services: {x: {image: a}}\n---\nservices: {x: {image: a, privileged: true}}\n', /document/i],
    ['services: {x: {image: a, pids_limit: 99999999999999999999}}\n', /quotes/],
    ['services: {x: {image: *nothing}}\n', /alias/i],
    ['services: {x: {}}\n', /needs an `image`/],
    ['services: {x: }\n', /must be a mapping/],
    ['services: {x: [image]}\n', /must be a mapping/],
    ['services: {"a b": {image: a}}\n', /name/],
    ['services: {-x: {image: a}}\n', /name/],
    ['services: {}\n', /1 to 64/],
    ['services: [x]\n', /must be a mapping/],
    ['volumes: {}\n', /no `services`/],
    ['', /must be a mapping/],
    ['just text\n', /must be a mapping/],
    [`services: {x: {image: a, command: ${'['.repeat(30)}${']'.repeat(30)}}}\n`, /deeper/],
    [`#${'x'.repeat(256 * 1024)}\n`, /larger than 256 KiB/],
    [`services: {x: {image: a, environment: {${'k'.repeat(300)}: v}}}\n`, /too long/],
  ])('%#: %.60s', (text, reason) => {
    const message = refusal(text);
    expect(message).toMatch(/^compose\.yaml:\d+: /);
    expect(message).toMatch(reason);
  });

  it('with Windows line ends, at the right line', () => {
    expect(refusal(service('tty: true', 'pid: host').replaceAll('\n', '\r\n'))).toMatch(/^compose\.yaml:5: /);
  });

  it('in a message without control characters or length', () => {
    const message = refusal(service(`"\\e[31m${'k'.repeat(200)}": 1`, 'volumes: ["/\\e]0;x:/y"]'));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none may be there
    expect(message).not.toMatch(/[\u0000-\u001f]/);
  });
});

describe('variables', () => {
  const image = (text: string, variables = {}) =>
    check(`services: {x: {image: ${JSON.stringify(text)}}}\n`, [], variables).services[0]!.image;

  it('are filled in from what was given, never from an environment', () => {
    process.env.SECRET_OF_THE_HOST = 'leak';
    expect(refusal(service('command: "${SECRET_OF_THE_HOST}"'))).toMatch(
      /^compose\.yaml:4: service "x": `command` uses the variable SECRET_OF_THE_HOST, which has no value/,
    );
    const file = render(service('environment: [SECRET_OF_THE_HOST, A=1]'));
    expect(file.services.x.environment).toEqual({ A: '1' });
    delete process.env.SECRET_OF_THE_HOST;
  });

  it('have the forms that Compose knows', () => {
    expect(image('a:${T}', { T: '1' })).toBe('a:1');
    expect(image('a:$T-x', { T: '1' })).toBe('a:1-x');
    expect(image('a:${T:-d}', { T: '' })).toBe('a:d');
    expect(image('a${T-d}', { T: '' })).toBe('a');
    expect(image('a${T:+set}', { T: '1' })).toBe('aset');
    expect(image('a${T:+set}')).toBe('a');
    expect(image('${toString:-a}')).toBe('a');
    for (const text of ['${T:?needed}', 'a$', 'a${', 'a$1', '${A:-${B}}', '${__proto__}', '${T-a}:$T'])
      expect(refusal(service(`hostname: ${JSON.stringify(text)}`))).toMatch(/variable/);
  });

  it('are checked by what they became, and not filled in twice', () => {
    const volume = service('volumes: ["${P}:/x"]');
    expect(check(volume, [], { P: './data' }).workspacePaths).toEqual(['data']);
    for (const P of ['/etc', '../x', '~', './x:/y:rw,z', '$HOME']) refusal(volume, [], { P });
    const twice = check(service('command: ["${V}", "$$V"]'), [], { V: '${PATH}' });
    expect(parse(renderStack(twice, OPTIONS)).services.x.command).toEqual(['$${PATH}', '$$V']);
  });
});

describe('a profile may allow by name', () => {
  it.each([
    ['privileged: true', 'privileged', { privileged: true }],
    ['cap_add: [NET_ADMIN]', 'cap_add', { cap_add: ['NET_ADMIN'] }],
    ['devices: ["/dev/kvm:/dev/kvm"]', 'devices', { devices: ['/dev/kvm:/dev/kvm'] }],
    ['security_opt: [seccomp:unconfined]', 'security_opt', { security_opt: ['seccomp:unconfined'] }],
    ['volumes: ["/srv/x/:/x:ro"]', 'host_binds', { volumes: ['/srv/x/:/x:ro'] }],
    ['volumes: ["/var/run/docker.sock:/s"]', 'docker_socket', { volumes: ['/var/run/docker.sock:/s'] }],
    ['network_mode: host', 'host_network', { network_mode: 'host' }],
    ['extra_hosts: ["h:host-gateway"]', 'host_gateway', { extra_hosts: ['h:host-gateway'] }],
  ])('%s', (line, name, expected) => {
    refusal(service(line));
    for (const other of ['other', 'x']) refusal(service(line), [other]);
    expect(render(service(line), {}, [name]).services.x).toMatchObject(expected);
  });

  it('one thing without another', () => {
    refusal(service('volumes: ["/run/docker.sock:/s"]'), ['host_binds']);
    refusal(service('volumes: ["/srv/../var/run/docker.sock:/s"]'), ['host_binds']);
    refusal(service('volumes: ["/etc:/s"]'), ['docker_socket']);
    refusal(service('container_name: x'), ['container_name']);
    refusal(service('volumes_from: [x]'), ['volumes_from']);
    expect(() => render(service('network_mode: host'), { networkDeny: true }, ['host_network'])).toThrow(
      /denies/,
    );
  });
});
