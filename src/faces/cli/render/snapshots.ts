/** Snapshots. */
import type { CallOutput } from '../../library/transport.ts';
import type { Look } from './look.ts';
import { cell, pairs, table } from './table.ts';
import { nowMs, shortTime, shown } from './text.ts';

type Snapshot = CallOutput<'snapshot'>;

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

function size(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1_024 ** power;
  return `${value.toFixed(power === 0 || value >= 100 ? 0 : 1)} ${UNITS[power]}`;
}

function partLine(part: Snapshot['parts'][number]): string {
  const name = part.kind === 'workspace' ? 'workspace' : `volume ${shown(part.name)}`;
  return `${name} (${part.entries} ${part.entries === 1 ? 'entry' : 'entries'}, ${size(part.bytes)})`;
}

export function snapshotCard(view: Snapshot, look: Look): string {
  const head = `${look.paint('bold', view.snapshot_id)}  of ${shown(view.sandbox_id)}, ${shown(view.profile_id)} on ${shown(view.extension_id)}\n`;
  const body = pairs(
    [
      ['holds', view.parts.map(partLine).join(', ')],
      ['size', `${size(view.archive_bytes)} compressed`],
      ['builds on', view.based_on],
      ['kept', `${shortTime(Date.parse(view.expires_at) - nowMs())} more (until ${view.expires_at})`],
      ['for', shown(view.project)],
      ['sha256', view.sha256],
      ['without', view.not_captured.map((sentence) => shown(sentence)).join('; ')],
      ['restore', `sandboxer restore ${view.snapshot_id}`],
    ],
    look,
  );
  return head + body;
}

export function snapshotsList(answer: CallOutput<'snapshots_list'>, look: Look): string {
  if (answer.items.length === 0)
    return `No snapshots. Take one: ${look.paint('bold', 'sandboxer snapshot <id>')}\n`;
  const rows = answer.items.map((view) => [
    cell(view.snapshot_id, 'bold'),
    cell(view.sandbox_id),
    cell(view.profile_id),
    cell(view.parts.map((part) => (part.kind === 'workspace' ? 'workspace' : part.name)).join(', ')),
    cell(size(view.archive_bytes)),
    cell(`${shortTime(Date.parse(view.expires_at) - nowMs())} left`),
  ]);
  const more =
    answer.next_cursor === null ? '' : look.paint('dim', `more: --cursor ${shown(answer.next_cursor)}\n`);
  return table(['ID', 'SANDBOX', 'PROFILE', 'HOLDS', 'SIZE', 'TIME'], rows, look) + more;
}

export function snapshotDeleted(view: Snapshot, look: Look): string {
  return `${look.paint('green', '✓')} ${view.snapshot_id} is deleted.\n`;
}
