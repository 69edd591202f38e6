/** Completion scripts, and what they ask for. */
import tab, { type Complete, script } from '@bomb.sh/tab';
import { asSandboxerError } from '../../domain/errors.ts';
import { isOver } from '../../domain/sandbox/lifecycle.ts';
import { connectTransport } from '../library/connect.ts';
import type { Transport } from '../library/transport.ts';
import { usageError } from './failure.ts';
import { ALL_COMMANDS, GROUPS } from './program.ts';
import type { CommandSpec, Values } from './spec.ts';

const SHELLS = ['bash', 'zsh', 'fish'];
const NAME = 'sandboxer';
const IDS_SHOWN = 50;

export async function printCompletionScript(values: Values): Promise<number> {
  const shell = String(values.shell);
  if (!SHELLS.includes(shell)) {
    throw usageError(`There is no completion for "${shell}".`, `Choose one of: ${SHELLS.join(', ')}`);
  }
  script(shell, NAME, NAME);
  return 0;
}

type Suggestion = readonly [value: string, description: string];

async function liveIds(transport: Transport): Promise<Suggestion[]> {
  const { items } = await transport.call('list', { limit: IDS_SHOWN });
  return items
    .filter(({ state }) => !isOver(state))
    .map((item) => [item.sandbox_id, `${item.profile_id}, ${item.state}`]);
}

async function profileIds(transport: Transport): Promise<Suggestion[]> {
  const { items } = await transport.call('profiles_list', {});
  return items.map((item) => [item.id, item.description]);
}

/** Asks only where the words so far call for it, and never waits for another process. */
async function suggestions(words: readonly string[]): Promise<{ ids: Suggestion[]; profiles: Suggestion[] }> {
  const nothing = { ids: [], profiles: [] };
  const spec = ALL_COMMANDS.find((command) => command.words.every((word, index) => words[index] === word));
  if (spec === undefined) return nothing;
  const wantsProfile = words.at(-2) === '--profile';
  const wantsId = ['id', 'source', 'destination'].includes(spec.arguments[0]?.field ?? '');
  if (!wantsProfile && !wantsId) return nothing;
  try {
    const transport = await connectTransport({ lockWaitMs: 0 });
    try {
      if (wantsProfile || spec.words[0] === 'profiles')
        return { ids: [], profiles: await profileIds(transport) };
      return { ids: spec.words[0] === 'tokens' ? [] : await liveIds(transport), profiles: [] };
    } finally {
      await transport.close();
    }
  } catch (error) {
    asSandboxerError(error); // a completion that cannot look simply knows nothing
    return nothing;
  }
}

function describe(spec: CommandSpec, known: { ids: Suggestion[]; profiles: Suggestion[] }): void {
  const offer = (items: readonly Suggestion[]) => (complete: Complete) => {
    for (const [value, description] of items) complete(value, description);
  };
  const command = tab.command(spec.words.join(' '), spec.summary);
  for (const { flag, description, choices, kind } of spec.flags) {
    const name = flag
      .replace(/^-\w, /, '')
      .replace(/^--/, '')
      .split(' ')[0]!;
    const values = flag.includes('--profile')
      ? known.profiles
      : choices.map((choice): Suggestion => [choice, '']);
    if (kind === 'boolean' || kind === 'negated') command.option(name, description);
    else command.option(name, description, offer(values));
  }
  for (const { field, variadic } of spec.arguments) {
    const items =
      field === 'shell' ? SHELLS.map((shell): Suggestion => [shell, '']) : [...known.ids, ...known.profiles];
    command.argument(field, field === 'command' ? undefined : offer(items), variadic);
  }
}

/** Answers `sandboxer complete -- <words>`, which the scripts ask. */
export async function answerCompletion(words: readonly string[]): Promise<void> {
  const typed = words[0] === '--' ? words.slice(1) : words;
  const known = await suggestions(typed);
  for (const [group, summary] of Object.entries(GROUPS)) tab.command(group, summary);
  for (const spec of ALL_COMMANDS) describe(spec, known);
  tab.parse([...typed]);
}
