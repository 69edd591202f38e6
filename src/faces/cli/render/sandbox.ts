import { isOver, isUsable } from '../../../domain/sandbox/lifecycle.ts';
import type { SandboxView } from '../../../operations/view.ts';
import { type Look, stateStyle } from './look.ts';
import { cell, pairs, table } from './table.ts';
import { nowMs, shortTime, shown, usd } from './text.ts';

const LABELS_SHOWN = 6;

function timeLine(view: SandboxView): string | null {
  if (isOver(view.state)) return `ended ${shortTime(nowMs() - Date.parse(view.updated_at))} ago`;
  if (view.expires_at === null) return `${view.ttl} from ready on`;
  const leftMs = Date.parse(view.expires_at) - nowMs();
  const left = leftMs > 0 ? `${shortTime(leftMs)} left` : 'over';
  const idle = view.idle_reap === null ? '' : `, idle ones end after ${view.idle_reap}`;
  return `${left} (until ${view.expires_at}; may be extended to ${view.ttl_max}${idle})`;
}

function grantLine(view: SandboxView): string | null {
  if (view.grant === null || view.grant.cut_reason === null) return null;
  const granted = view.grant.granted ?? 'nothing';
  return `asked for ${view.grant.requested}, granted ${granted}: ${shown(view.grant.cut_reason)}`;
}

function wayIn(view: SandboxView): readonly (readonly [string, string | null])[] {
  const { reachability } = view;
  if (reachability === null || !isUsable(view.state)) return [];
  const { ssh, remote_dir, host, compose_project, tunnel } = reachability;
  return [
    ['enter', reachability.exec ? `sandboxer shell ${view.sandbox_id}` : null],
    ['ssh', ssh === null ? null : shown(`ssh ${ssh}`)],
    ['host', host === null ? null : shown(host)],
    ['directory', remote_dir === null ? null : shown(remote_dir)],
    ['compose', compose_project === null ? null : shown(compose_project)],
    ['tunnel', tunnel === null ? null : shown(tunnel)],
  ];
}

function labelsLine(labels: SandboxView['labels']): string | null {
  const all = Object.entries(labels).map(([name, value]) => shown(`${name}=${value}`));
  if (all.length === 0) return null;
  const more = all.length > LABELS_SHOWN ? ` and ${all.length - LABELS_SHOWN} more` : '';
  return `${all.slice(0, LABELS_SHOWN).join(' ')}${more}`;
}

/** One sandbox, as a person wants to see it. */
export function card(view: SandboxView, look: Look): string {
  const { consumer, isolation, failure, run, meter } = view;
  const state = look.paint(stateStyle(view.state), `● ${view.state}`);
  const head = `${state}  ${look.paint('bold', view.sandbox_id)}  ${shown(view.profile_id)} on ${shown(view.extension_id)}\n`;
  const weaker = isolation.degraded.map(({ rule, reason }) => shown(`${rule}: ${reason}`)).join('; ');
  const busy = run === null ? null : `${run.kind}, ${shown(run.step ?? '').replaceAll('_', ' ')}`;
  const body = pairs(
    [
      ...wayIn(view),
      ['time', timeLine(view)],
      ['now', busy],
      ['last error', run?.last_error == null ? null : shown(run.last_error)],
      ['grant', grantLine(view)],
      ['isolation', shown(isolation.level)],
      ['weaker', weaker === '' ? null : look.paint('yellow', weaker)],
      [
        'for',
        `${shown(consumer.project)}, ${consumer.actor}${consumer.run_id === null ? '' : `, run ${shown(consumer.run_id)}`}`,
      ],
      ['labels', labelsLine(view.labels)],
      ['cost', `${usd(meter.actual_usd)} so far, ${usd(meter.estimate_usd)} estimated`],
      ['restored', view.restored_from === null ? null : `from ${shown(view.restored_from)}`],
      [
        'left out',
        view.left_out.length === 0
          ? null
          : look.paint('yellow', view.left_out.map((what) => shown(what)).join('; ')),
      ],
      ['failure', failure === null ? null : look.paint('red', shown(failure.message))],
      ['cleaned up', failure?.cleaned_up == null ? null : shown(failure.cleaned_up)],
      ['attention', view.needs_attention === null ? null : look.paint('red', shown(view.needs_attention))],
    ],
    look,
  );
  return head + body;
}

function leftOrAge(view: SandboxView): string {
  const now = nowMs();
  if (isUsable(view.state) && view.expires_at !== null) {
    const leftMs = Date.parse(view.expires_at) - now;
    return leftMs > 0 ? `${shortTime(leftMs)} left` : 'over';
  }
  return `${shortTime(now - Date.parse(view.updated_at))} ago`;
}

export function sandboxList(
  answer: { readonly items: readonly SandboxView[]; readonly next_cursor: string | null },
  look: Look,
): string {
  if (answer.items.length === 0) return `No sandboxes. Make one: ${look.paint('bold', 'sandboxer create')}\n`;
  const rows = answer.items.map((view) => [
    cell(view.sandbox_id, 'bold'),
    cell(view.state, stateStyle(view.state)),
    cell(leftOrAge(view)),
    cell(view.profile_id),
    cell(view.extension_id),
    cell(view.consumer.project),
  ]);
  const more =
    answer.next_cursor === null ? '' : look.paint('dim', `more: --cursor ${shown(answer.next_cursor)}\n`);
  return table(['ID', 'STATE', 'TIME', 'PROFILE', 'EXTENSION', 'PROJECT'], rows, look) + more;
}
