#!/bin/sh
# One real host of the lab: `machine.sh network` in a network namespace of its own, then `machine.sh root` as pid 1 of a
# pid, mount, UTS and IPC namespace. Everything a host is lives in namespaces, so nothing of it outlives its pid 1.
# From the environment: SUPERVISOR_PID, AREA, SSH_SOURCE, LOGIN, LINK, NAME, NEAR, FAR (addresses), COMPOSE_PLUGIN (or empty).
set -eu

if [ "$1" = network ]; then
  # The near end belongs to the machine of the test, the far end is the host's cable.
  ip link add eth0 type veth peer name "$LINK" netns "$SUPERVISOR_PID"
  ip addr add "$FAR/30" dev eth0
  ip link set lo up
  ip link set eth0 up
  nsenter --target "$SUPERVISOR_PID" --net sh -c "ip addr add $NEAR/30 dev $LINK && ip link set $LINK up"
  exec unshare --mount --uts --ipc --pid --fork --kill-child sh "$0" root
fi

# /proc is still that of the machine outside: this is the pid others see.
read -r pid _ </proc/self/stat
hostname "$NAME"

# The host's disk is an overlay over this machine's; what it writes stays in the area, also over a reboot.
new=$AREA/root
mkdir -p "$new" "$AREA/upper" "$AREA/work" "$AREA/docker" "$AREA/home" "$AREA/tmp" "$AREA/base"
mount -t overlay overlay -o "lowerdir=/,upperdir=$AREA/upper,workdir=$AREA/work" "$new"
mkdir -p "$new/usr/local/lib/docker/cli-plugins" "$new/var/lib/docker"
if [ -n "$COMPOSE_PLUGIN" ]; then
  : >"$new/usr/local/lib/docker/cli-plugins/docker-compose"
  mount --bind "$COMPOSE_PLUGIN" "$new/usr/local/lib/docker/cli-plugins/docker-compose"
fi
mount -t proc proc "$new/proc"
mount -t sysfs sysfs "$new/sys"
if [ -d /sys/fs/cgroup ]; then mount --rbind /sys/fs/cgroup "$new/sys/fs/cgroup"; fi
mount --rbind /dev "$new/dev"
mount -t tmpfs -o mode=755 tmpfs "$new/run"
mount --bind "$AREA/docker" "$new/var/lib/docker"
mount --bind "$AREA/home" "$new/root"
chmod 700 "$new/root"
mount --bind "$AREA/tmp" "$new/tmp"
chmod 1777 "$new/tmp"
mkdir -p "$new/tmp/sandboxer" "$new/run/sshd" "$new/run/lock" "$new/run/outside"
mount --bind "$AREA/base" "$new/tmp/sandboxer"

if [ ! -d "$new/etc/lab-ssh" ]; then
  # A light login shell: a user's start-up files would dominate what ssh costs.
  sed -i 's|^\(root:.*\):[^:]*$|\1:/bin/sh|' "$new/etc/passwd"
  sed -i 's|^root:[^:]*:|root:*:|' "$new/etc/shadow"
  rm -rf "$new/etc/docker"
  rm -f "$new/etc/resolv.conf"
  echo 'nameserver 127.0.0.1' >"$new/etc/resolv.conf"
  printf '127.0.0.1 localhost\n%s %s\n' "$FAR" "$NAME" >"$new/etc/hosts"
  mkdir -m 700 "$new/etc/lab-ssh"
  cp "$SSH_SOURCE"/* "$new/etc/lab-ssh/"
  chmod 600 "$new"/etc/lab-ssh/*
  if [ "$LOGIN" != root ]; then
    echo "$LOGIN:x:4242:4242::/home/$LOGIN:/bin/sh" >>"$new/etc/passwd"
    echo "$LOGIN:*:1::::::" >>"$new/etc/shadow"
    sed -i "s/^\(docker:.*:\)\(.*\)$/\1$LOGIN/" "$new/etc/group"
    echo "$LOGIN:x:4242:" >>"$new/etc/group"
    mkdir -p "$new/etc/lab-keys" "$new/home/$LOGIN"
    cp "$SSH_SOURCE/authorized_keys" "$new/etc/lab-keys/$LOGIN"
    chmod 644 "$new/etc/lab-keys/$LOGIN"
    chown 4242:4242 "$new/home/$LOGIN" "$new/tmp/sandboxer"
  fi
fi

cd "$new"
pivot_root . run/outside
cd /
umount -l /run/outside
rmdir /run/outside
echo "$pid"
exec >/dev/null 2>&1 </dev/null
# Pid 1 reaps whatever loses its parent.
while :; do
  sleep 3600 &
  wait "$!" || :
done
