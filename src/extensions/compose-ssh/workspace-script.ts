/**
 * What of a workspace changed since a snapshot of it. With a whole snapshot the host keeps a listing of everything, against
 * which it holds a new one for the next. Why that can be believed: docs/decisions/incremental-snapshots.md.
 */

/**
 * $1 base directory, $2 key, $3 the snapshot to be, $4 the one to build on or nothing, $5 how many bytes of names may be told.
 * Says `ready` and waits for a line where all must stand still from then on; says how it reads, `changes` or `whole`; then says
 * the workspace as a tar stream. Of changes, the names of all else come first in it.
 *
 * A listing has a line for each entry: its path, two slashes, and what changes when it does; slashes are bytes 1, so that lines and
 * paths are in the order of `compareInTree`. In that of a whole one a ~ stands at what may have changed after tar read it.
 * It is made after the reading, and counts during one boot of the machine, whose crash takes times and contents back apart.
 *
 * Only find and tar meet what containers write, and both go from directory to directory and follow no link, whatever appears on
 * their way. So tar is told what to leave, not what to take.
 */
export const READ_WORKSPACE = `
export LC_ALL=C
unset TAR_OPTIONS
umask 077
dir=$1/$2 own=$1/.sandboxer/$2/snapshots work=$1/.sandboxer/$2/snapshots/$3.work id=$3 base=$4 most=$5
read -r boot </proc/sys/kernel/random/boot_id
old=$own/$base.$boot
facts='%y,%n,%D,%i,%C@,%T@,%s,%m,%U,%G\\0'
mark=$(printf '\\001\\001') odd=$(printf '\\002-\\037\\\\\\177') two=$(printf '\\002')
# Names that tar takes from a file as they are. What has another one is always read.
plain="^[^$odd]*[^$odd ]"
ready() {
  [ -n "$went" ] || { echo ready; read -r went; went=yes; }
}
# No step's failure may look like a shorter list: what is on none is neither read nor kept.
list() {
  { (cd -P -- "$dir" && exec find . "$@" 2>"$work/said"); echo "$?" >found; } | tr '/\\001' '\\001\\002' >all || return 1
  read -r found <found && [ "$found" -le 1 ] || return 1
  lines said -v ': No such file or directory$' >rest && [ ! -s rest ] || return 1
  lines all -z "$plain$mark" >some && sort -z some >new && [ -s new ]
}
# Lines of a file, also none.
lines() {
  file=$1; shift
  grep -a "$@" "$file"
  [ "$?" -le 1 ]
}
paths() { sed -z "s/$mark.*//" "$@"; }
changes() {
  [ -n "$base" ] && [ -s "$old" ] && ready && list -printf "%p//$facts" || return 1
  comm -z -12 "$old" new >same && comm -z -3 "$old" new >other && lines all -z -v "$plain$mark" >strange || return 1
  # What became of one name of a file is not seen at its others: of such a file all are read, or none.
  sed -z -n "/$mark~*d,/d; /$mark~*[^,],1,/d; s/^.*$mark~*\\([^,],[0-9]*,[0-9]*,[0-9]*,\\).*/$mark\\1/p" other strange >several &&
    tr '\\0' '\\n' <several >links && : >linked || return 1
  if [ -s links ]; then
    lines same -z -F -f links >linked && lines same -z -v -F -f links >alone && mv alone same || return 1
  fi
  # The directories that lead to what is new or gone are not left, so that what is left are whole trees.
  sed -z 's/^\\t//' other >fresh && paths same >keep && paths fresh linked strange >some && printf '.\\0' >>some &&
    sed -z -n -e ':up' -e 'p;s/\\x01[^\\x01]*$//;t up' some >ways && sort -z -u ways >take &&
    comm -z -23 keep take >left && tr '\\001\\0' '/\\n' <left >leave || return 1
  # A changed directory too: one that is gone when its turn comes shall not take with it what is in it.
  sed -z -n "s/^\\t\\(.*\\)\${mark}d,.*/\\1/p" other >after && sed -z -n "s/^\\([^\\t].*\\)$mark~*d,.*/\\1/p" other >before &&
    comm -z -12 before after >both && sort -z -m -u both keep >told && tr '\\001' / <told >names &&
    sed -z '/^\\.$/d; s|^\\./||' names >unchanged && [ "$(wc -c <unchanged)" -le "$most" ]
}
# Of writes by way of memory that is shared with a file, only the first since it was written out changes its times.
whole() {
  case $(stat -f -c %T "$dir") in ext2/ext3 | xfs | btrfs) ;; *) return 1 ;; esac
  tar --sort=name --version >/dev/null 2>&1 || return 1
  read -r started _ </proc/uptime && : >began && touch -r began -d '-2 seconds' since && timeout 30 sync -f "$dir"
}
pack() { LC_ALL=C.UTF-8 tar -cf - "$@" -C "$dir" .; }
# The listing of what was read. Whatever changed since before the reading is marked, if the clock was not set meanwhile.
keep() {
  : >ended && read -r over _ </proc/uptime && set -- $(stat -c %Y began ended) || return 1
  drift=$(($2 - $1 - \${over%%.*} + \${started%%.*}))
  [ "$drift" -ge -1 ] && [ "$drift" -le 1 ] || return 1
  list -newercm "$work/since" -printf "%p//~$facts" -o -printf "%p//$facts" || return 1
  device=$(stat -c %d "$dir") && lines all -z -v "$mark~*[^,],[0-9]*,$device," >rest && [ ! -s rest ] || return 1
  # A directory that was moved and its parent changed; what is in it did not, and was elsewhere.
  lines new -z "$mark~d," >some && paths some >changed &&
    sed -z -n 's/^\\(.*\\)\\x01[^\\x01]*$/\\1\\x02&\\x01/p' changed >some && sort -z -t "$two" -k 1,1 some >ways &&
    join -z -t "$two" -o 1.2 ways changed >moved && tr '\\0' '\\n' <moved >below || return 1
  if [ -s below ]; then lines new -z -v -F -f below >same && mv same new || return 1; fi
  find "$own" -mindepth 1 -maxdepth 1 \\( -type f -o -mmin +1440 \\) -exec rm -rf -- {} +
  mv -- new "$own/$id.$boot"
}
how=plain
if [ -n "$boot" ] && { [ -d "$own" ] || mkdir -- "$own"; } && mkdir -- "$work" && cd -- "$work"; then
  if changes; then how=changes; elif whole; then how=whole; fi
fi 2>/dev/null
ready
case $how in
  changes)
    echo changes
    pack --sort=name --anchored --no-wildcards --exclude-from=leave -C "$work" unchanged ;;
  whole)
    echo whole
    pack --sort=name ;;
  *)
    echo whole
    pack ;;
esac
code=$?
exec >&-
[ "$how" != whole ] || [ "$code" -gt 1 ] || keep 2>/dev/null
cd / && rm -rf -- "$work"
exit "$code"
`;
