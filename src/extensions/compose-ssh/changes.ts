/**
 * What of a workspace changed since a snapshot of it. With a whole snapshot the host keeps a listing of everything, against
 * which it holds a new one for the next. Why that can be believed: docs/decisions/incremental-snapshots.md.
 */
import { LIMITS } from '../../domain/limits.ts';
import type { CaptureRequest } from '../../ports/snapshot.ts';
import type { HostClient, Place } from './client.ts';

const LOOK_MS = 120_000;

/**
 * Of both scripts: $1 base directory, $2 key, $3 the snapshot to be. `kept` names the listing of one: what a crash of the machine
 * takes back it takes back from times and contents apart, so it counts during one boot.
 */
const SNAPSHOT = `
export LC_ALL=C
umask 077
dir=$1/$2 own=$1/.sandboxer/$2/snapshots id=$3 work=$1/.sandboxer/$2/snapshots/$3.work
boot=$(cat /proc/sys/kernel/random/boot_id) || exit 1
kept() { echo "$own/$1.$boot"; }
mark=$(printf '\\001\\001') odd=$(printf '\\002-\\037\\\\\\177')
# Names that tar tells, and takes from a file, as they are. What has another one is always read.
plain="^[^$odd]*[^$odd ]"
`;

/**
 * $4 the snapshot to build on or nothing, $5 how many bytes of names may be told. Says how to read the workspace: \`changes\`,
 * \`whole\` with a listing for the next one, or \`plain\` where a listing would mean nothing.
 *
 * A listing has a line for each entry: its path, two slashes, and what changes when it does; slashes are bytes 1, so that lines and
 * paths are in the order of \`compareInTree\`. In that of a whole one a ~ stands at what may change again within a tick of the clock.
 */
const LOOK = `${SNAPSHOT}
base=$4 most=$5 facts='%y,%n,%D,%i,%C@,%T@,%s,%m,%U,%G\\0'
list() {
  (cd -P -- "$dir" && find . "$@" 2>"$work/said") | tr '/\\001' '\\001\\002' >all || return 1
  ! grep -q -v ': No such file or directory$' said && grep -a -z "$plain$mark" all | sort -z >new && [ -s new ]
}
paths() { sed -z "s/$mark.*//" "$@"; }
changes() {
  old=$(kept "$base")
  [ -n "$base" ] && [ -s "$old" ] && list -printf "%p//$facts" || return 1
  comm -z -12 "$old" new >same && comm -z -3 "$old" new >other || return 1
  # What became of one name of a file is not seen at its others: of such a file all are read, or none.
  { cat other; grep -a -z -v "$plain$mark" all; } |
    sed -z -n "/$mark~*d,/d; /$mark~*[^,],1,/d; s/^.*$mark~*\\([^,],[0-9]*,[0-9]*,[0-9]*,\\).*/$mark\\1/p" |
    tr '\\0' '\\n' | sort -u >links || return 1
  if [ -s links ]; then grep -a -z -v -F -f links same >alone; mv alone same; fi
  # Directories too that are in both: one that is gone when its turn comes shall not take with it what is in it.
  grep -a -z "$mark~*d," "$old" | paths >before && grep -a -z "\${mark}d," new | paths | comm -z -12 - before >both
  { cat both; paths same; } | sort -z -u | comm -z -12 - "$old.read" | tr '\\001' / | sed -z 's|^\\./||' >unchanged || return 1
  grep -a -z -v "\${mark}d," same | paths | comm -z -12 - "$old.read" | tr '\\001\\0' '/\\n' >leave || return 1
  [ "$(wc -c <unchanged)" -le "$most" ]
}
# Of writes by way of memory that is shared with a file, only the first since it was written out changes its times.
whole() {
  : >began && touch -r began -d '-2 seconds' since && timeout 30 sync -f "$dir" || return 1
  list -newercm "$work/since" -printf "%p//~$facts" -o -printf "%p//$facts" || return 1
  ! grep -a -q -v -z "$mark~*[^,],[0-9]*,$(stat -c %d "$dir")," all
}
case $(stat -f -c %T "$dir") in ext2/ext3 | xfs | btrfs) ;; *) echo plain; exit ;; esac
tar --sort=name --version >/dev/null 2>&1 || { echo plain; exit; }
[ -d "$own" ] || mkdir -- "$own" && mkdir -- "$work" && cd -- "$work" || exit 1
if changes; then echo changes; elif whole; then echo whole; else cd / && rm -rf -- "$work"; echo plain; fi
`;

/**
 * $4 how to read, not \`plain\`. Of changes, the names of all else come first. A listing counts once all was read, and with the names
 * of what was: what was elsewhere meanwhile looks unchanged when it is back. By itself tar follows no link that appears on its way.
 */
const READ = `${SNAPSHOT}
cd -- "$work" || exit 1
how=$4
case $how in
  changes) set -- --anchored --no-wildcards --exclude-from=leave -C "$work" unchanged ;;
  *) set -- -v --index-file=index --quoting-style=escape ;;
esac
LC_ALL=C.UTF-8 tar -cf - --sort=name "$@" -C "$dir" .
code=$?
exec >&-
if [ "$how" = whole ] && [ "$code" -le 1 ]; then
  find "$own" -mindepth 1 -maxdepth 1 \\( -type f -o -mmin +1440 \\) -exec rm -rf -- {} +
  tr '\\n/' '\\0\\001' <index | sed -z 's/\\x01$//' | grep -a -z "$plain$" | sort -z >"$(kept "$id").read" &&
    mv -- new "$(kept "$id")"
fi
cd / && rm -rf -- "$work"
exit "$code"
`;

export type Reading = 'plain' | 'whole' | 'changes';

const wordsOf = (client: HostClient, { key }: Place, { snapshotId }: CaptureRequest) => [
  client.host.base_directory,
  key,
  snapshotId,
];

/** How the workspace is to be read, now that it may be. `plain` where the host cannot tell what changed. */
export async function lookForChanges(
  client: HostClient,
  place: Place,
  request: CaptureRequest,
  signal: AbortSignal,
): Promise<Reading> {
  const words = [...wordsOf(client, place, request), request.baseId ?? '', String(LIMITS.snapshotNamesBytes)];
  const command = ['sh', '-c', LOOK, 'sh', ...words];
  const { exitCode, stdout } = await client.link.run({ command, timeoutMs: LOOK_MS, signal });
  const said = stdout.trim();
  return exitCode === 0 && (said === 'changes' || said === 'whole') ? said : 'plain';
}

/** The command that says the workspace as a tar stream, once. */
export function readCommand(
  client: HostClient,
  place: Place,
  request: CaptureRequest,
  reading: Reading,
): readonly string[] {
  if (reading === 'plain') return ['tar', '-C', place.directory, '-cf', '-', '.'];
  return ['sh', '-c', READ, 'sh', ...wordsOf(client, place, request), reading];
}
