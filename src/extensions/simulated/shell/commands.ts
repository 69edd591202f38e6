/** The commands of the simulated shell. They reach the world through `Machine` alone. */
import { posix } from 'node:path';
import { parseCommand, type SimpleCommand } from './script.ts';

/** What a command may touch. Each write waits while nobody reads (back-pressure). */
export interface Machine {
  readonly environment: ReadonlyMap<string, string>;
  readonly workingDirectory: string;
  write(stream: 'stdout' | 'stderr', data: Uint8Array): Promise<void>;
  readInput(): AsyncIterable<Uint8Array>;
  readFile(path: string): Promise<Uint8Array | null>;
  writeFile(path: string, data: Uint8Array): Promise<boolean>;
  sleep(durationMs: number): Promise<void>;
}

type Write = (data: Uint8Array) => Promise<void>;
type Command = (words: readonly string[], machine: Machine, write: Write) => Promise<number>;

const PIECE_BYTES = 32 * 1024;
const HEAD_BYTES_MAX = 256 * 1024 * 1024;
const encode = (text: string) => new TextEncoder().encode(text);

const COMMANDS: Readonly<Record<string, Command>> = {
  true: async () => 0,
  ':': async () => 0,
  false: async () => 1,
  async echo(words, _machine, write) {
    const bare = words[1] === '-n';
    await write(encode(words.slice(bare ? 2 : 1).join(' ') + (bare ? '' : '\n')));
    return 0;
  },
  async printf(words, _machine, write) {
    await write(encode((words[1] ?? '').replace('%s', words[2] ?? '').replaceAll('\\n', '\n')));
    return 0;
  },
  async pwd(_words, machine, write) {
    await write(encode(`${machine.workingDirectory}\n`));
    return 0;
  },
  async env(_words, machine, write) {
    for (const [name, value] of machine.environment) await write(encode(`${name}=${value}\n`));
    return 0;
  },
  async sleep(words, machine) {
    const seconds = Number(words[1]);
    if (!Number.isFinite(seconds) || seconds < 0) return 1;
    await machine.sleep(seconds * 1_000);
    return 0;
  },
  async cat(words, machine, write) {
    if (words.length < 2) {
      for await (const chunk of machine.readInput()) await write(chunk);
      return 0;
    }
    let exitCode = 0;
    for (const path of words.slice(1)) {
      const data = await machine.readFile(resolve(machine, path));
      if (data !== null) await write(data);
      else {
        await machine.write('stderr', encode(`cat: ${path}: No such file or directory\n`));
        exitCode = 1;
      }
    }
    return exitCode;
  },
  /** `head -c N /dev/zero`: a lot of output. */
  async head(words, _machine, write) {
    let restBytes = Math.min(Number(words[2]), HEAD_BYTES_MAX);
    if (words[1] !== '-c' || words[3] !== '/dev/zero' || !Number.isFinite(restBytes)) return 1;
    for (; restBytes > 0; restBytes -= PIECE_BYTES)
      await write(new Uint8Array(Math.min(restBytes, PIECE_BYTES)));
    return 0;
  },
};

function resolve(machine: Machine, path: string): string {
  return posix.resolve(machine.workingDirectory, path);
}

/** Runs `argv` to its end and answers the exit code. */
export async function runCommand(argv: readonly string[], machine: Machine): Promise<number> {
  const parsed = parseCommand(argv, machine.environment);
  if (parsed.kind === 'refused') {
    await machine.write('stderr', encode(`${parsed.reason}\n`));
    return 2;
  }
  let exitCode = 0;
  for (const command of parsed.commands) {
    if (command.when === 'success' && exitCode !== 0) continue;
    if (command.when === 'failure' && exitCode === 0) continue;
    if (command.words[0] === 'exit') return Number(command.words[1] ?? exitCode) & 255;
    exitCode = await runSimple(command, machine);
  }
  return exitCode;
}

async function runSimple(command: SimpleCommand, machine: Machine): Promise<number> {
  const name = command.words[0] ?? '';
  const run = Object.hasOwn(COMMANDS, posix.basename(name)) ? COMMANDS[posix.basename(name)] : undefined;
  if (run === undefined) {
    await machine.write('stderr', encode(`${name}: not found\n`));
    return 127;
  }
  const { redirect } = command;
  if (redirect?.to !== 'file') {
    const stream = redirect?.to === 'stderr' ? 'stderr' : 'stdout';
    return run(command.words, machine, (data) => machine.write(stream, data));
  }
  const pieces: Uint8Array[] = [];
  const exitCode = await run(command.words, machine, async (data) => {
    pieces.push(data.slice());
  });
  const written = await machine.writeFile(resolve(machine, redirect.path), Buffer.concat(pieces));
  if (written) return exitCode;
  await machine.write('stderr', encode(`sh: ${redirect.path}: cannot create\n`));
  return 1;
}
