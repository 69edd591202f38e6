/**
 * What of a workspace changed since a snapshot of it. With a whole snapshot the host keeps a listing of everything, against
 * which it holds a new one for the next. Why that can be believed: docs/decisions/incremental-snapshots.md.
 */

/**
 * $1 base directory, $2 key, $3 the snapshot to be, $4 the one to build on or nothing, $5 how many bytes of names may be told.
 * Says `ready` and waits for a line where all must stand still from then on; says how it reads, `changes` or `whole`; then says
 * the workspace as a tar stream. Of changes, what all else is called comes first in it. After it $6 and how tar ended, on a line.
 *
 * A listing has a line for each entry: its path, two slashes, and what changes when it does; slashes are bytes 1, so that paths sort
 * in the order of `compareInTree`. In that of a whole one a ~ stands at what may have changed after tar read it. It is made after the
 * reading, and counts during one boot of the machine, whose crash takes times and contents back apart.
 *
 * Only find and tar meet what containers write, and both go from directory to directory and follow no link, whatever appears on
 * their way. So tar is told what to leave, not what to take.
 */
export const READ_WORKSPACE = String.raw`
export LC_ALL=C
unset TAR_OPTIONS
umask 077
dir=$1/$2 own=$1/.sandboxer/$2/snapshots work=$1/.sandboxer/$2/snapshots/$3.work id=$3 base=$4 most=$5 mark=$6
read -r boot </proc/sys/kernel/random/boot_id
old=$own/$base.$boot
facts='%y,%n,%D,%i,%C@,%T@,%s,%m,%U,%G\0'
ready() {
  [ -n "$went" ] || { echo ready; read -r went; went=yes; }
}
# The last line says how find ended: no step's failure may look like a shorter list, and what is on none is neither read nor kept.
list() {
  { (cd -P -- "$dir" && exec find . "$@" 2>"$work/said"); printf 'end %s\0' "$?"; } | tr '/\001\0\n' '\001\002\n\003'
}
# Nothing but entries that went meanwhile may be missing on a list.
listed() {
  [ -s said ] || return 0
  grep -a -v ': No such file or directory$' said >rest
  [ "$?" -eq 1 ]
}
words='
  function read_entry(line) {
    at = index(line, "\001\001")
    path = substr(line, 1, at - 1)
    facts = substr(line, at + 2)
  }
  function above(path) { return match(path, /\001[^\001]*$/) ? substr(path, 1, RSTART - 1) : "" }
  # tar takes these names otherwise from a file. They are on no listing that is kept, and always read.
  function is_strange(path) { return path ~ /[\002-\037\\\177]| $/ }
  function is_directory(facts) { return facts ~ /^~?d,/ }
  /^end [01]$/ { isComplete = 1; next }
'
compare='
  # The directories that lead to what is new or gone are not left, so that what is left are whole trees.
  function take(path) { for (; path != "" && !(path in taken); path = above(path)) taken[path] }
  function inode_of(facts) { split(facts, fact, ","); return fact[3] "," fact[4] }
  # Of a file, several.
  function has_names(facts) { return facts !~ /^~?(d|.,1),/ }
  function tell(path) { print substr(path, 3); told += length(path) - 1 }
  function note(path, facts) { take(path); if (has_names(facts)) linked[inode_of(facts)] }
  isOld { before[$0]; next }
  { read_entry($0) }
  $0 in before {
    delete before[$0]
    same[++count] = path
    if (is_directory(facts)) directory[count]
    else if (has_names(facts)) inode[count] = inode_of(facts)
    next
  }
  {
    note(path, facts)
    if (is_directory(facts)) changed[path]
  }
  END {
    take(".")
    for (line in before) {
      read_entry(line)
      note(path, facts)
      # A changed directory is told as kept: one that is gone when its turn comes shall not take with it what is in it.
      if (is_directory(facts) && path in changed && path != ".") tell(path)
    }
    # What became of one name of a file is not seen at its others: of such a file all are read, or none.
    for (i in inode) if (inode[i] in linked) take(same[i])
    # find tells of what is in a directory right after the directory.
    for (i = 1; i <= count; i++) {
      path = same[i]
      if (top != "" && index(path, top) == 1) continue
      if (path in taken) { if (i in directory && path != ".") tell(path); continue }
      top = path "\001"
      tell(i in directory ? top : path)
      gsub(/\001/, "/", path)
      print path >"leave"
    }
    exit !isComplete || told > most
  }
'
changes() {
  [ -n "$base" ] && [ -s "$old" ] && ready && : >leave && list -printf "%p//$facts" |
    awk -v most="$most" "$words$compare" isOld=1 "$old" isOld=0 - >told && listed &&
    sort told >names && tr '\001\n' '/\0' <names >unchanged
}
# Of writes by way of memory that is shared with a file, only the first since it was written out changes its times.
whole() {
  case $(stat -f -c %T "$dir") in ext2/ext3 | xfs | btrfs) ;; *) return 1 ;; esac
  tar --sort=name --version >/dev/null 2>&1 || return 1
  IFS=. read -r started _ </proc/uptime && : >began && touch -r began -d '-2 seconds' since && timeout 30 sync -f "$dir"
}
pack() { LC_ALL=C.UTF-8 tar -cf - "$@" -C "$dir" .; }
settled='
  { read_entry($0); split(facts, fact, ","); if (fact[3] != device) isElsewhere = 1 }
  is_strange(path) { next }
  # A directory that was moved and its parent changed; what is in it did not, and was elsewhere.
  above(path) in moved { if (is_directory(facts)) moved[path]; next }
  facts ~ /^~d,/ { changed[path]; if (above(path) in changed) moved[path] }
  { print }
  END { exit !isComplete || isElsewhere }
'
# The listing of what was read. Whatever changed since before the reading is marked, if the clock was not set meanwhile.
keep() {
  : >ended && IFS=. read -r over _ </proc/uptime && set -- $(stat -c %Y began ended) || return 1
  drift=$(($2 - $1 - over + started))
  [ "$drift" -ge -1 ] && [ "$drift" -le 1 ] || return 1
  device=$(stat -c %d "$dir") && list -newercm "$work/since" -printf "%p//~$facts" -o -printf "%p//$facts" |
    awk -v device="$device" "$words$settled" >new && listed || return 1
  find "$own" -mindepth 1 -maxdepth 1 \( -type f -o -mmin +1440 \) -exec rm -rf -- {} +
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
echo "$mark $code"
exec >&-
[ "$how" != whole ] || [ "$code" -gt 1 ] || keep 2>/dev/null
cd / && rm -rf -- "$work"
exit "$code"
`;
