/** What an operator asks for: findings, strays, expiry, tokens. */
import type { CallOutput } from '../../library/transport.ts';
import type { Look } from './look.ts';
import { cell, pairs, table } from './table.ts';
import { shown } from './text.ts';

const MARKS = { ok: ['✓', 'green'], warning: ['!', 'yellow'], failed: ['✗', 'red'] } as const;

export function doctorReport(answer: CallOutput<'doctor'>, look: Look): string {
  const width = Math.max(0, ...answer.findings.map(({ check }) => check.length));
  const lines = answer.findings.flatMap(({ check, status, detail, remedy }) => {
    const [mark, style] = MARKS[status];
    const line = `${look.paint(style, mark)} ${shown(check).padEnd(width)}  ${shown(detail)}`;
    return remedy === null ? [line] : [line, `${' '.repeat(width + 4)}${look.paint('bold', shown(remedy))}`];
  });
  const verdict = answer.ok
    ? look.paint('green', 'Ready to work.')
    : look.paint('red', 'Something is missing.');
  return `${lines.join('\n')}\n${verdict}\n`;
}

export function sweepReport(answer: CallOutput<'reap_stale'>, look: Look): string {
  const alarms = answer.alarms.map((alarm) => `${look.paint('red', '✗')} ${shown(alarm)}\n`).join('');
  if (answer.items.length === 0) return `${alarms}Nothing lies at the backends.\n`;
  const rows = answer.items.map((item) => [
    cell(item.name, 'bold'),
    cell(item.extension_id),
    cell(item.removed ? 'removed' : item.action, item.action === 'kill' ? 'yellow' : 'dim'),
    cell(item.reason),
  ]);
  const waiting = answer.items.some(({ action, removed }) => action === 'kill' && !removed);
  const hint =
    waiting && !answer.applied ? look.paint('dim', 'to remove it: sandboxer reap-stale --apply\n') : '';
  return alarms + table(['NAME', 'EXTENSION', 'ACTION', 'WHY'], rows, look) + hint;
}

export function expiryReport(answer: CallOutput<'expire'>, look: Look): string {
  if (answer.results.length === 0) return 'No sandbox is over its time.\n';
  const rows = answer.results.map((item) => [
    cell(item.sandbox_id, 'bold'),
    cell(item.profile_id),
    cell(item.cause),
    cell(item.result, item.result === 'failed' ? 'red' : 'yellow'),
    cell(item.detail),
  ]);
  const hint = answer.applied ? '' : look.paint('dim', 'to end them: sandboxer expire --apply\n');
  return table(['ID', 'PROFILE', 'CAUSE', 'RESULT', 'DETAIL'], rows, look) + hint;
}

type Token = CallOutput<'tokens_list'>['items'][number];

function tokenCells(token: Token) {
  return [
    cell(token.id, 'bold'),
    cell(token.name),
    cell(token.project ?? 'all projects'),
    cell(token.scopes.join(' ')),
    token.revoked_at === null ? cell('valid', 'green') : cell('revoked', 'dim'),
  ];
}

export function tokensList(answer: CallOutput<'tokens_list'>, look: Look): string {
  if (answer.items.length === 0) return 'No tokens. Make one: sandboxer tokens create --name ci\n';
  return table(['ID', 'NAME', 'PROJECT', 'SCOPES', 'STATE'], answer.items.map(tokenCells), look);
}

export function tokenCreated(answer: CallOutput<'tokens_create'>, look: Look): string {
  const entries = [
    ['id', answer.id],
    ['project', answer.project ?? 'all projects'],
    ['scopes', answer.scopes.join(' ')],
  ] as const;
  return `${answer.token}\n${look.paint('dim', 'It is shown this once.')}\n${pairs(entries, look)}`;
}

export function tokenRevoked(answer: CallOutput<'tokens_revoke'>, look: Look): string {
  return `${look.paint('green', '✓')} ${shown(answer.id)} (${shown(answer.name)}) is revoked.\n`;
}

/** Logs in where the sandbox's files are. */
function oneLiner(ssh: string, directory: string | null): string {
  if (directory === null) return `ssh ${shown(ssh)}`;
  const quoted = shown(directory).replaceAll("'", "'\\''");
  return `ssh -t ${shown(ssh)} 'cd "${quoted}" && exec "\${SHELL:-sh}"'`;
}

export function reachabilityShown(answer: CallOutput<'reachability'>, look: Look): string {
  const { ports, exec, ...rest } = answer;
  const head = answer.ssh === null ? '' : `${oneLiner(answer.ssh, answer.remote_dir)}\n`;
  const named = Object.entries(rest).map(
    ([name, value]) => [name.replaceAll('_', ' '), value === null ? null : shown(value)] as const,
  );
  const keeper = answer.tunnel_via === 'ops-bridge' ? 'bridge status' : null;
  const way = exec ? 'sandboxer exec, shell, cp and port work' : null;
  return (
    head +
    pairs(
      [
        ...named,
        ['tunnel state', keeper],
        ['ports', ports.length === 0 ? null : ports.join(', ')],
        ['commands', way],
      ],
      look,
    )
  );
}
