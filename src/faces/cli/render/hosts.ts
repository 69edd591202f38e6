/** Hosts: which there are, and what they say. */
import type { CallOutput } from '../../library/transport.ts';
import type { Look } from './look.ts';
import { type Cell, cell, pairs, table } from './table.ts';
import { shown, usd } from './text.ts';

type Host = CallOutput<'hosts_add'>;
type Telemetry = CallOutput<'inspect_host'>['items'][number]['telemetry'];

function way(host: Host): string {
  return host.local ? 'this machine' : (host.ssh ?? 'over SSH');
}

function use(host: Host): Cell {
  return host.draining ? cell('draining', 'yellow') : cell('takes work', 'green');
}

export function hostsList(answer: CallOutput<'hosts_list'>, look: Look): string {
  if (answer.items.length === 0) {
    return `No hosts. Register one: ${look.paint('bold', 'sandboxer hosts add NAME --ssh user@host')}\n`;
  }
  const rows = answer.items.map((host) => [
    cell(host.name, 'bold'),
    use(host),
    cell(`${host.slots_used}/${host.slots}`),
    cell(way(host)),
    cell(host.source.replace('_', ' ')),
    cell(labels(host) ?? '-'),
  ]);
  return table(['NAME', 'STATE', 'SLOTS', 'WAY', 'FROM', 'LABELS'], rows, look);
}

function labels(host: Host): string | null {
  const all = Object.entries(host.labels).map(([name, value]) => `${name}=${value}`);
  return all.length === 0 ? null : all.join(' ');
}

export function hostCard(host: Host, look: Look): string {
  const found = labels(host);
  const price = host.price_micro_usd_per_hour;
  const state = host.draining ? look.paint('yellow', '● draining') : look.paint('green', '● takes work');
  const body = pairs(
    [
      ['way', shown(way(host))],
      ['key', host.key_file === null ? null : shown(host.key_file)],
      ['jump', host.jump === null ? null : shown(host.jump)],
      ['compose', shown(host.compose_command ?? 'found out by asking')],
      ['directory', shown(host.base_directory)],
      ['slots', `${host.slots_used} of ${host.slots} taken`],
      ['labels', found === null ? null : shown(found)],
      ['price', price === 0 ? null : `${usd(price / 1e6)} an hour`],
      ['try it', `sandboxer hosts check ${shown(host.name)}`],
    ],
    look,
  );
  return `${state}  ${look.paint('bold', shown(host.name))}\n${body}`;
}

/** Load, memory and disk, in three cells. */
export function telemetryCells(telemetry: Telemetry): Cell[] {
  if (telemetry === null) return [cell('not known'), cell('-'), cell('-')];
  return [
    cell(`${telemetry.load_1m} ${telemetry.load_5m} ${telemetry.load_15m} on ${telemetry.cpu_count} CPUs`),
    cell(`${telemetry.mem_available_mb} of ${telemetry.mem_total_mb} MB free`),
    cell(`${telemetry.disk_root_avail_gb} GB free, ${telemetry.disk_root_used_pct}% used`),
  ];
}

export function hostsChecked(answer: CallOutput<'hosts_check'>, look: Look): string {
  if (answer.items.length === 0) return hostsList({ items: [] }, look);
  const rows = answer.items.map((item) => [
    cell(item.name, 'bold'),
    cell(item.extension_id),
    item.ok ? cell('✓ can take work', 'green') : cell('✗ cannot take work', 'red'),
    ...telemetryCells(item.telemetry),
  ]);
  const reasons = answer.items
    .filter(({ ok }) => !ok)
    .map(
      ({ name, reason }) =>
        `${look.paint('red', '✗')} ${shown(name)}: ${shown(reason ?? 'it does not say why')}\n`,
    );
  return table(['NAME', 'EXTENSION', 'STATE', 'LOAD', 'MEMORY', 'DISK'], rows, look) + reasons.join('');
}

export function hostRemoved(answer: CallOutput<'hosts_remove'>, look: Look): string {
  return `${look.paint('green', '✓')} ${shown(answer.name)} is forgotten.\n`;
}

export function hostReport(answer: CallOutput<'inspect_host'>, look: Look): string {
  const hosts = answer.items.some(({ host }) => host !== null);
  const rows = answer.items.map(({ extension_id, host, telemetry }) => [
    cell(extension_id, 'bold'),
    ...(hosts ? [cell(host)] : []),
    ...telemetryCells(telemetry),
  ]);
  const reasons = answer.items
    .filter(({ reason }) => reason !== null)
    .map(
      ({ extension_id, host, reason }) =>
        `${look.paint('red', '✗')} ${shown(host ?? extension_id)}: ${shown(reason)}\n`,
    );
  const heads = ['EXTENSION', ...(hosts ? ['HOST'] : []), 'LOAD', 'MEMORY', 'DISK'];
  return table(heads, rows, look) + reasons.join('');
}
