#!/bin/sh
# Sets up the lab of real hosts (test/lab): Debian packages and Docker Compose v2, the latter inside the clone.
# As root it installs what is missing; as anyone else it says what is. Safe to repeat; with nothing to do it says nothing.
# No daemon is left running, and the apt configuration of the machine is read, never changed.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
lab=$root/build/lab
plugin=$lab/docker-config/cli-plugins/docker-compose
policy=/usr/sbin/policy-rc.d
work=
PATH=$PATH:/usr/sbin:/sbin

say() { echo "setup-lab: $*" >&2; }
fail() { say "$*"; exit 1; }

find_missing() {
  missing=
  while read -r program package; do
    command -v "$program" >/dev/null 2>&1 || missing="$missing $package"
  done <<'LIST'
dockerd docker.io
docker docker.io
sshd openssh-server
ssh openssh-client
rsync rsync
ip iproute2
iptables iptables
nft nftables
zstd zstd
curl curl
make make
nsenter util-linux
busybox busybox-static
podman podman
podman-compose podman-compose
LIST
  if command -v busybox >/dev/null 2>&1 && ldd "$(command -v busybox)" >/dev/null 2>&1; then
    missing="$missing busybox-static"
  fi
  missing=$(echo "$missing" | tr ' ' '\n' | sort -u | tr '\n' ' ')
  missing=${missing# }
}

# Packages of daemons start them unless this file forbids it.
forbid_daemons() {
  status=0
  [ ! -x "$policy" ] || "$policy" lab start >/dev/null 2>&1 || status=$?
  [ "$status" != 101 ] || return 0
  if [ -e "$policy" ]; then mv "$policy" "$policy.before-lab"; fi
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  policy_is_ours=yes
}

clean_up() {
  if [ "${policy_is_ours:-}" = yes ]; then
    rm -f "$policy"
    if [ -e "$policy.before-lab" ]; then mv "$policy.before-lab" "$policy"; fi
  fi
  if [ -n "$work" ]; then rm -rf "$work"; fi
}

# Neither now nor at the next boot: systemd would start what a new package enabled.
disable_units() {
  [ -d /run/systemd/system ] || return 0
  case " $1 " in *' openssh-server '*) systemctl disable --quiet ssh.service ssh.socket 2>/dev/null || say 'ssh has no unit' ;; esac
  case " $1 " in *' docker.io '*)
    systemctl disable --quiet docker.service docker.socket containerd.service 2>/dev/null || say 'docker has no unit' ;;
  esac
  case " $1 " in *' podman '*) systemctl disable --quiet podman.service podman.socket 2>/dev/null || say 'podman has no unit' ;; esac
}

install_packages() {
  say "installing $1"
  forbid_daemons
  # An index that cannot be refreshed matters only when the installation fails.
  apt-get update -qq >&2 || say 'some package lists could not be refreshed'
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o DPkg::Lock::Timeout=300 --no-install-recommends $1 >/dev/null
  disable_units "$1"
}

adopt() {
  mkdir -p "${plugin%/*}"
  ln -sf "$1" "$plugin"
}

adopt_installed_compose() {
  docker compose version >/dev/null 2>&1 || return 1
  for directory in "${DOCKER_CONFIG:-$HOME/.docker}" /usr/local/lib/docker /usr/local/libexec/docker /usr/lib/docker \
    /usr/libexec/docker; do
    if [ -x "$directory/cli-plugins/docker-compose" ]; then
      adopt "$directory/cli-plugins/docker-compose"
      return 0
    fi
  done
  return 1
}

install_compose_package() {
  for package in docker-compose-v2 docker-compose-plugin docker-compose; do
    candidate=$(apt-cache policy "$package" | sed -n 's/^ *Candidate: //p')
    case $candidate in
      '' | '(none)' | 0* | 1* ) continue ;;
    esac
    install_packages "$package"
    adopt_installed_compose && return 0
  done
  return 1
}

# Unpacks the package of the next release with an apt configuration of its own; the mirror is the one this machine uses.
unpack_newer_compose() {
  work=$(mktemp -d)
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' >"$work/mirrors"
  read -r release mirror <"$work/mirrors" ||
    fail 'Docker Compose v2 is missing, and apt names no Debian mirror to take it from'
  case $release in
    bullseye | bookworm) suite=trixie ;;
    *) suite=sid ;;
  esac
  say "unpacking Docker Compose of Debian $suite into the clone"
  mkdir -p "$work/sources" "$work/lists/partial" "$work/archives/partial" "$work/unpacked"
  : >"$work/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$work/sources/next.list"
  set -- -qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/sources" -o Dir::State::lists="$work/lists" \
    -o Dir::State::status="$work/status" -o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives" \
    -o Acquire::Languages=none -o APT::Sandbox::User=root -o Dir::Etc::preferencesparts=/dev/null -o Dir::Etc::preferences=/dev/null
  apt-get "$@" update >&2
  (cd "$work" && apt-get "$@" download docker-compose >&2)
  dpkg-deb -x "$work"/docker-compose_*.deb "$work/unpacked"
  mkdir -p "${plugin%/*}"
  cp "$work/unpacked/usr/libexec/docker/cli-plugins/docker-compose" "$plugin.new"
  "$plugin.new" docker-cli-plugin-metadata >/dev/null || fail 'the unpacked Docker Compose does not run on this machine'
  mv "$plugin.new" "$plugin"
}

find_missing
if [ -n "$missing" ]; then
  [ "$(id -u)" = 0 ] || fail "these packages are missing; as root run: apt-get install $missing"
  command -v apt-get >/dev/null 2>&1 || fail "these programs' Debian packages are missing: $missing"
fi
[ -n "$missing" ] || [ ! -x "$plugin" ] || exit 0
trap clean_up EXIT
trap 'exit 1' INT TERM HUP
[ -z "$missing" ] || install_packages "$missing"
[ -x "$plugin" ] || adopt_installed_compose || install_compose_package || unpack_newer_compose
say 'ready'
