#!/bin/sh
# Sets up a clone: npm packages (Node 24 is one of them), a C compiler, and the agent that runs inside sandboxes.
# As root it installs missing Debian packages; as anyone else it says which. Safe to repeat; --quiet says little.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
quiet=${1:-}
case $(uname -m) in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) arch=$(uname -m) ;; esac
node=$root/node_modules/node-linux-$arch/bin/node

say() { [ "$quiet" = --quiet ] || echo "setup: $*" >&2; }

# 1. npm packages, when the lock file is newer than what is installed
if [ ! -x "$node" ] || [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  echo 'setup: installing npm packages (once)' >&2
  npm ci --no-audit --no-fund --loglevel=error >&2
  touch node_modules/.package-lock.json
fi

# 2. Debian packages
missing=
if [ ! -x "$root/prebuilt/linux-$arch/sandboxer-agent" ]; then
  if ! command -v cc >/dev/null 2>&1 || ! echo 'int main(void){return 0;}' | cc -static -x c -o /dev/null - 2>/dev/null; then
    missing="$missing gcc libc6-dev"
  fi
fi
if [ -n "$missing" ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "setup: installing$missing" >&2
    apt-get update -qq >&2
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
  else
    echo "setup: these packages are missing; as root run: apt-get install$missing" >&2
    case $missing in *gcc*) exit 1 ;; esac
  fi
fi

# 3. the agent
mkdir -p build
"$node" scripts/build-agent.ts
touch build/ready
say 'ready'
