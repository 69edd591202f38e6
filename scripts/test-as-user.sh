#!/bin/sh
# Runs the tests that differ for an ordinary user as one, when root runs the tests. The clone is shown to that user at
# a place everybody may reach, in a mount namespace of its own, so it may lie anywhere.
set -eu
[ $# -gt 0 ] || set -- test/native src/extensions/local test/escape test/unprivileged test/snapshots/local.test.ts
[ "$(id -u)" = 0 ] || exit 0
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
work=$(mktemp -d /tmp/sbx-user-XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir "$work/clone" "$work/home" "$work/tmp"
chmod 755 "$work" "$work/clone"
chown 65534:65534 "$work/home" "$work/tmp"
export root work
unshare --mount --propagation private sh -c '
  mount --bind "$root" "$work/clone"
  cd "$work/clone"
  exec setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs --inh-caps=-all \
    env -i PATH="$work/clone/node_modules/.bin:$PATH" HOME="$work/home" TMPDIR="$work/tmp" CI="${CI:-}" \
    vitest run --configLoader native "$@"
' sh "$@"
