/**
 * What runs on a host, as constant texts for its `sh`; everything that varies is an argument. Exit codes of ours:
 * 65 the base directory cannot be used, 70 the engine does not answer; 67 and 68 are said with the script that has them.
 *
 * A sandbox has `<base>/<key>`, the workspace, and `<base>/.sandboxer/<key>`, what is ours: containers may write to the first
 * and never see the second, since what lies there is run on the host.
 */

/** $1 base directory, $2 key, $3 name, $4 engine: of every script about one sandbox. */
const PLACE = `
base=$1 name=$3 engine=$4 dir=$1/$2 state=$1/.sandboxer/$2
`;

/** By standard input: the record on the first line, then the Compose file. */
export const WRITE_STACK = `${PLACE}
umask 077
write() { cat >"$state/$1.new" && mv -- "$state/$1.new" "$state/$1"; }
IFS= read -r record && printf '%s\\n' "$record" | write record.json && write compose.yaml
`;

/** Containers, networks, volumes and built images, then the files. Safe to repeat. */
const REMOVE = `
# What containers wrote may belong to their root: then any image that is there and has rm does it.
empty_as_root() {
  for image in $("$engine" images -q | sort -u); do
    "$engine" run --rm --network none --user 0 --entrypoint sh -v "$dir:/sandboxer-remove" "$image" \\
      -c 'cd /sandboxer-remove && rm -rf -- * .[!.]* ..?*' >/dev/null 2>&1
    [ -n "$(ls -A "$dir")" ] || return 0
  done
  echo "$dir holds files of another user, and no image on the host can remove them" >&2
  return 1
}
remove() {
  for process in /proc/[0-9]*; do
    if tr '\\0' ' ' 2>/dev/null <"$process/cmdline" | grep -q -- "-p $name -f"; then kill -9 "\${process#/proc/}" 2>/dev/null; fi
  done
  for label in "sandboxer.name=$name" "com.docker.compose.project=$name"; do
    found=$("$engine" ps -aq --filter "label=$label") || return 70
    [ -z "$found" ] || "$engine" rm -f -v $found >/dev/null || return 70
    found=$("$engine" network ls -q --filter "label=$label") || return 70
    [ -z "$found" ] || "$engine" network rm $found >/dev/null || return 70
    found=$("$engine" volume ls -q --filter "label=$label") || return 70
    [ -z "$found" ] || "$engine" volume rm -f $found >/dev/null || return 70
  done
  found=$("$engine" images -q --filter "label=sandboxer.name=$name" | sort -u) || return 70
  [ -z "$found" ] || "$engine" rmi -f $found >/dev/null || return 70
  rm -rf -- "$dir" 2>/dev/null || empty_as_root || return 1
  rm -rf -- "$dir" "$state" || return 1
  rmdir -- "$base/.sandboxer" 2>/dev/null || true
}
`;

/** Runs on the host by itself until the deadline, however often that moves, and tries until everything is gone. */
export const REAPER = `${PLACE}${REMOVE}
cd / || exit 1
while deadline=$(cat "$state/deadline" 2>/dev/null); do
  left=$((deadline - $(cut -d. -f1 /proc/uptime)))
  if [ "$left" -le 0 ]; then remove; left=5; fi
  [ "$left" -le 5 ] || left=5
  sleep "$left"
done
`;

/** Whether the process `$pid` is this sandbox's reaper, and not one that got its number later; ours have its name in their text. */
const IS_REAPER = `tr '\\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "sh $state/reaper.sh "`;

/**
 * Where none runs: also after the machine was started again, when times since its start began anew. Then the deadline is at most
 * as far away as when it was set: never earlier than it was, and later by no more than what had passed. A loss of power may have
 * left nothing in that file, and the deadline is then as it was.
 */
const START_REAPER = `
pid=$(cat "$state/reaper.pid" 2>/dev/null || echo none)
if ! ${IS_REAPER}; then
  left=$(cat "$state/left" 2>/dev/null)
  end=$(($(cut -d. -f1 /proc/uptime) + \${left:-0}))
  [ -z "$left" ] || [ "$(cat "$state/deadline")" -le "$end" ] || echo "$end" >"$state/deadline"
  if [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ] &&
    systemd-run --quiet --collect --unit="sandboxer-$name" -- sh "$state/reaper.sh" "$1" "$2" "$3" "$4" 2>/dev/null; then
    systemctl show --property=MainPID --value "sandboxer-$name" >"$state/reaper.pid"
  else
    setsid sh "$state/reaper.sh" "$1" "$2" "$3" "$4" </dev/null >/dev/null 2>&1 &
    echo $! >"$state/reaper.pid"
  fi
fi
`;

/** $5 seconds to the deadline, $6 seconds to the latest one or nothing to keep it. */
const SET_DEADLINE = `
now=$(cut -d. -f1 /proc/uptime)
[ -z "$6" ] || echo $((now + $6)) >"$state/latest"
deadline=$((now + $5)) latest=$(cat "$state/latest") || exit 1
[ "$deadline" -le "$latest" ] || deadline=$latest
echo $((deadline - now)) >"$state/left" || exit 1
echo "$deadline" >"$state/deadline.new" && mv -- "$state/deadline.new" "$state/deadline" || exit 1
${START_REAPER}echo $((deadline - now))
`;

/** Times count from the start of the machine: a wrong or a moving clock does not matter. Says the seconds granted. */
export const ARM = `${PLACE}${SET_DEADLINE}`;

/**
 * $5 epoch, $6 seconds to the deadline, $7 seconds to the latest one, $8 the reaper. By standard input: the record on the first
 * line, then the Compose file. Directory, record and reaper come before anything else, so that nothing is there without an end.
 * 67: something of that name is there already.
 */
export const PREPARE = `${PLACE}
if [ -L "$base" ] || ! mkdir -p -- "$base" || ! [ -O "$base" ]; then
  echo "$base cannot be used: it is a link or belongs to somebody else" >&2; exit 65
fi
if [ -e "$state" ] || [ -e "$dir" ]; then exit 67; fi
chmod 700 "$base" && mkdir -p -- "$state" "$dir" || exit 1
IFS= read -r record && printf '%s\\n' "$record" >"$state/record.json" && printf '%s\\n' "$5" >"$state/epoch" || exit 1
printf '%s' "$8" >"$state/reaper.sh" || exit 1
set -- "$1" "$2" "$3" "$4" "$6" "$7"
${SET_DEADLINE}(umask 077 && cat >"$state/compose.yaml")
`;

export const DESTROY = `${PLACE}${REMOVE}
pid=$(cat "$state/reaper.pid" 2>/dev/null || echo none)
remove || exit $?
if ${IS_REAPER}; then kill "$pid"; fi
`;

/** Lines of words apart by tabs; see `status.ts`. A reaper that does not run any more is started again. */
export const OBSERVE = `${PLACE}
if [ -e "$dir" ] || [ -e "$state" ]; then
  printf 'directory\\t%s\\n' "$(cat "$state/epoch" 2>/dev/null)"
  printf 'up\\t%s\\n' "$(cat "$state/up" 2>/dev/null)"
  printf 'record\\t%s\\n' "$(head -n 1 "$state/record.json" 2>/dev/null)"
  [ ! -e "$state/deadline" ] || { ${START_REAPER}}
  held=$(cat "$state/held" 2>/dev/null) && printf 'held\\t%s\\n' $(($(cut -d. -f1 /proc/uptime) - held))
fi
found=$("$engine" ps -a --no-trunc --filter "label=com.docker.compose.project=$name" \\
  --format '{{.ID}}\\t{{.Label "com.docker.compose.service"}}\\t{{.State}}\\t{{.Status}}') || exit 70
[ -z "$found" ] || printf '%s\\n' "$found" | sed 's/^/container\\t/'
[ -z "$found" ] && [ ! -e "$dir" ] && [ ! -e "$state" ] || exit 0
for kind in network volume image; do
  found=$("$engine" $kind ls -q --filter "label=sandboxer.name=$name") || exit 70
  [ -z "$found" ] || printf '%s\\n' "$found" | sed "s/^/$kind\\t/"
done
`;

/** $1 base directory, $2 engine. Directories with their age and record, then names that the engine knows. */
export const LIST = `
base=$1 engine=$2
now=$(date +%s)
for dir in "$base/.sandboxer"/* "$base"/*; do
  [ -d "$dir" ] || continue
  key=\${dir##*/} state=$base/.sandboxer/\${dir##*/}
  made=$(stat -c %Y "$state/epoch" 2>/dev/null || stat -c %Y "$dir")
  printf 'directory\\t%s\\t%s\\t%s\\n' "$key" $((now - made)) "$(head -n 1 "$state/record.json" 2>/dev/null)"
done
for label in sandboxer.name com.docker.compose.project; do
  for kind in 'ps -a' 'network ls' 'volume ls'; do
    case $kind in volume*) made= ;; *) made='{{.CreatedAt}}' ;; esac
    found=$("$engine" $kind --filter "label=$label" --format "{{.Label \\"$label\\"}}\t$made") || exit 70
    [ -z "$found" ] || printf '%s\\n' "$found" | sed 's/^/name\\t/'
  done
done
printf 'now\\t%s\\n' "$now"
`;

/** $1 base directory, $2 the Compose program that was found before or nothing, then those to try, each as one word. */
export const PROBE = `
base=$1 known=$2; shift 2
for compose in \${known:+"$known"} "$@"; do
  [ "$compose" = "$known" ] || $compose version >/dev/null 2>&1 || continue
  printf 'compose\\t%s\\n' "$compose"
  case $compose in podman*) engine=podman ;; *) engine=docker ;; esac
  version=$($engine version --format '{{.Server.Version}}' 2>&1) || { printf 'silent\\t%s\\n' "$(printf '%s\\n' "$version" | tail -n 1)"; break; }
  # Its templates cannot name a label before 5.0, and its Compose of that time ignores limits.
  case $engine-$version in podman-[0-4].*)
    printf 'silent\\tPodman %s is asked by Docker'"'"'s command line and Compose over its socket, and they are not there\\n' "$version"; break ;;
  esac
  printf 'engine\\t%s\\t%s\\n' "$engine" "$version"
  case $engine in
    docker)
      if [ -n "\${DOCKER_HOST:-}" ] || grep -q currentContext "$HOME/.docker/config.json" 2>/dev/null; then
        printf 'socket\\t%s\\n' "$(docker context inspect --format '{{.Endpoints.docker.Host}}')"
      else printf 'socket\\t%s\\n' /var/run/docker.sock; fi ;;
    podman) printf 'socket\\t%s\\n' "$(podman info --format '{{.Host.RemoteSocket.Path}}')" ;;
  esac
  running=$($engine ps --format 'x{{.Label "sandboxer.name"}}')
  printf 'containers\\t%s\\t%s\\n' "$(printf '%s\\n' "$running" | grep -c x)" "$(printf '%s\\n' "$running" | grep -c 'xsbx')"
  break
done
printf 'user\\t%s\\n' "$(id -u)"
printf 'load\\t%s\\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
printf 'processors\\t%s\\n' "$(grep -c ^processor /proc/cpuinfo)"
printf 'memory\\t%s\\t%s\\n' "$(sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo)" "$(sed -n 's/^MemAvailable: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo)"
printf 'disk\\t%s\\n' "$(df -P -k / | tail -n 1)"
place=$base
while [ ! -e "$place" ]; do place=$(dirname -- "$place"); done
[ -w "$place" ] || printf 'closed\\t%s\\n' "$place"
printf 'room\\t%s\\n' "$(df -P -k "$place" | tail -n 1)"
`;

/**
 * $5 bytes at most, from $6 on paths in the workspace: says the number of the first that is there, on a line of its own, and then
 * what it holds. 68: none is there; 67: that one is no plain file, or a link leads to it. Only while nothing runs that could
 * change them.
 */
export const READ_PLAIN = `${PLACE}
limit=$5 number=0
shift 5
cd -P -- "$dir" || exit 1
set -f
IFS=/
for path in "$@"; do
  number=$((number + 1)) place=.
  for part in $path; do
    place=$place/$part
    if [ -L "$place" ]; then echo "$number"; exit 67; fi
  done
  [ -e "$place" ] || continue
  echo "$number"
  [ -f "$place" ] || exit 67
  head -c "$limit" -- "$place"
  exit
done
exit 68
`;

/** From $5 on paths in the workspace: says the first of their beginnings that is a link. */
export const FIND_LINK = `${PLACE}
shift 4
cd -P -- "$dir" || exit 1
set -f
IFS=/
for path in "$@"; do
  place=.
  for part in $path; do
    place=$place/$part
    if [ -L "$place" ]; then printf '%s\\n' "\${place#./}"; exit 0; fi
  done
done
`;

/** From $5 on the words of Compose. What it said and how it ended is kept for `observe`. */
export const UP = `${PLACE}
shift 4
cd "$dir" || exit 1
# Compose fills in variables from its own environment: it shall hold nothing that a repository may not see.
env -i PATH="$PATH" HOME="$HOME" \${DOCKER_HOST:+"DOCKER_HOST=$DOCKER_HOST"} \${DOCKER_CONFIG:+"DOCKER_CONFIG=$DOCKER_CONFIG"} \\
  "$@" </dev/null >"$state/up.log" 2>&1
code=$?
echo "$code" >"$state/up"
[ "$code" = 0 ] || tail -n 12 "$state/up.log" >&2
exit "$code"
`;

/** $1 engine, $2 lines, then containers. */
export const LAST_WORDS = `
engine=$1 lines=$2; shift 2
for container in "$@"; do "$engine" logs --tail "$lines" "$container" 2>&1; done
`;
