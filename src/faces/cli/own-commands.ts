/** Commands that only the command line has. */
import type { ArgumentSpec, CommandSpec, FlagKind, FlagSpec } from './spec.ts';

const argument = (field: string, description: string, kind: ArgumentSpec['kind'] = 'text'): ArgumentSpec => ({
  field,
  description,
  variadic: false,
  required: true,
  kind,
});

const flag = (
  field: string,
  text: string,
  kind: FlagKind,
  description: string,
  extra: Partial<FlagSpec> = {},
): FlagSpec => ({
  field,
  flag: text,
  kind,
  description,
  required: false,
  default: null,
  choices: [],
  ...extra,
});

/** Flags that the command line adds to commands of the table. */
export const ADDED_FLAGS: Readonly<Record<string, readonly FlagSpec[]>> = {
  exec: [flag('tty', '-t, --tty', 'boolean', 'Give the command a terminal')],
  open_port: [
    flag(
      'listen',
      '--listen <port>',
      'number',
      'The port on 127.0.0.1; the same number unless said, 0 for any',
    ),
  ],
};

export const OWN_COMMANDS: readonly CommandSpec[] = [
  {
    operation: 'shell',
    words: ['shell'],
    summary: 'An interactive shell inside',
    shape: 'own',
    arguments: [argument('id', 'The id of a sandbox')],
    flags: [
      flag('environment', '--env <name=value>', 'record', 'Variables, NAME=value'),
      flag('working_directory', '--cwd <path>', 'text', 'Where it starts; /workspace unless said'),
      flag('user', '--user <user|root>', 'text', 'As the ordinary user or as root inside', {
        choices: ['user', 'root'],
        default: 'user',
      }),
    ],
    examples: ['sandboxer shell <id>', 'sandboxer shell <id> --user root'],
  },
  {
    operation: 'cp',
    words: ['cp'],
    summary: 'Copy files and directories in or out',
    shape: 'own',
    arguments: [
      argument('source', 'A path here, or <id>:<path> inside'),
      argument('destination', 'A path here, or <id>:<path> inside'),
    ],
    flags: [],
    examples: [
      'sandboxer cp ./input.txt <id>:/workspace/input.txt',
      'sandboxer cp <id>:/workspace ./copy',
      'sandboxer cp ./my-project/. <id>:/workspace',
    ],
  },
  {
    operation: 'serve',
    words: ['serve'],
    summary: 'Serve the API, and keep the time of every sandbox',
    shape: 'own',
    arguments: [],
    flags: [
      flag('host', '--host <address>', 'text', 'Where to listen', { default: '127.0.0.1' }),
      flag('port', '--port <port>', 'number', 'The TCP port, 0 for any', { default: '7788' }),
      flag('allowed_hosts', '--allowed-host <name...>', 'list', 'Names under which a proxy reaches it'),
      flag('allow_plain_http', '--allow-plain-http', 'boolean', 'Listen beyond this machine without TLS'),
    ],
    examples: ['sandboxer serve', 'sandboxer serve --port 0 --json'],
  },
  {
    operation: 'completion',
    words: ['completion'],
    summary: 'The completion script of a shell',
    shape: 'own',
    arguments: [argument('shell', 'bash, zsh or fish')],
    flags: [],
    examples: [
      'source <(sandboxer completion bash)',
      'sandboxer completion zsh > ~/.zfunc/_sandboxer',
      'sandboxer completion fish > ~/.config/fish/completions/sandboxer.fish',
    ],
  },
];
