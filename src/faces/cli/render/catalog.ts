/** Profiles, extensions and routes. */
import type { CallOutput } from '../../library/transport.ts';
import type { Look } from './look.ts';
import { cell, pairs, table } from './table.ts';
import { flow, shown } from './text.ts';

export function profilesList(answer: CallOutput<'profiles_list'>, look: Look): string {
  const rows = answer.items.map((item) => [
    cell(item.id, 'bold'),
    cell(item.version),
    cell(item.ttl),
    cell(item.extensions.join(' → ')),
    cell(item.description),
  ]);
  const broken = answer.broken.flatMap(({ file, problems }) =>
    (problems.length === 0 ? [file] : problems).map(
      (problem) => `${look.paint('red', '✗')} ${shown(problem)}\n`,
    ),
  );
  return table(['ID', 'VERSION', 'TTL', 'EXTENSION', 'DESCRIPTION'], rows, look) + broken.join('');
}

export function profileShown(answer: CallOutput<'profiles_show'>, look: Look): string {
  const entries = Object.entries(answer.profile).map(
    ([name, value]) => [name, value === null ? null : flow(value)] as const,
  );
  return `${look.paint('bold', shown(answer.file))}\n${pairs(entries, look)}`;
}

export function profileValid(answer: CallOutput<'profiles_validate'>, look: Look): string {
  return `${look.paint('green', '✓')} ${shown(answer.file)} is a valid profile: ${shown(answer.profile.id)}\n`;
}

export function extensionsList(answer: CallOutput<'extensions_list'>, look: Look): string {
  const rows = answer.items.map((item) => [
    cell(item.id, 'bold'),
    item.healthy ? cell('✓ can take work', 'green') : cell(`✗ ${item.reason ?? 'cannot take work'}`, 'red'),
    cell(`${item.slots_used}/${item.slots}`),
    cell(levels(item.capabilities)),
    cell(item.description),
  ]);
  return table(['ID', 'HEALTH', 'SLOTS', 'ISOLATION', 'DESCRIPTION'], rows, look);
}

function levels(capabilities: Readonly<Record<string, unknown>>): string {
  const found = capabilities.isolationLevels ?? capabilities.isolation_levels;
  return Array.isArray(found) ? found.join(', ') : '-';
}

export function routeExplained(answer: CallOutput<'route_explain'>, look: Look): string {
  const hosts = answer.candidates.some(({ host }) => host !== null);
  const rows = answer.candidates.map((candidate) => [
    candidate.chosen ? cell('→', 'green') : cell(' '),
    cell(candidate.extension_id, 'bold'),
    ...(hosts ? [cell(candidate.host)] : []),
    cell(candidate.rank === null ? '-' : candidate.rank + 1),
    cell(candidate.reason),
  ]);
  const heads = ['', 'EXTENSION', ...(hosts ? ['HOST'] : []), 'RANK', 'WHY'];
  const chosen = answer.candidates.some((candidate) => candidate.chosen);
  const verdict = chosen ? '' : `${look.paint('red', 'No backend would take it now.')}\n`;
  return `strategy: ${shown(answer.strategy)}\n${table(heads, rows, look)}${verdict}`;
}
