#!/usr/bin/env bash
# Starts a personal HTCondor on loopback, from Debian 13's package in a folder of its own (chroot). Needs root, and the network the
# first time, when it takes a minute.
#   start.sh ROOT SHARED [PORT]     SHARED is a folder that is seen at the same path within; work as the user "physicist":
#   chroot ROOT runuser -u physicist -- sh -c 'cd SHARED && condor_submit job.sub'
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$1 shared=$2 port=${3:-19618}
export DEBIAN_FRONTEND=noninteractive
(
    flock 9
    if [ ! -e "$root/usr/sbin/condor_master" ]; then
        command -v mmdebstrap >/dev/null || (
            # Another may be installing something else.
            flock 8
            for _ in 1 2 3; do apt-get update -qq && break; sleep 10; done
            apt-get install -y -qq -o DPkg::Lock::Timeout=300 --no-install-recommends mmdebstrap >&2
        ) 8>/tmp/lumisift-apt.lock
        # Whole or not at all.
        rm -rf "$root.part"
        mmdebstrap --quiet --variant=minbase --aptopt='Apt::Install-Recommends "false"' --include=minicondor,procps trixie "$root.part" >&2
        chroot "$root.part" useradd -m physicist
        mv "$root.part" "$root"
    fi
) 9>"$root.lock"
sed "s|@PORT@|$port|g" "$here/99-test.config" >"$root/etc/condor/config.d/99-test.config"
cp /etc/hosts "$root/etc/hosts"
# HTCondor's starter wants / to be a mount point.
mountpoint -q "$root" || mount --bind "$root" "$root" || exit 3   # not allowed here, as in a container
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
mountpoint -q "$root/dev" || mount --bind /dev "$root/dev"
mkdir -p "$root$shared"
mountpoint -q "$root$shared" || mount --bind "$shared" "$root$shared"
# From within: /var/run and the like are absolute links.
chroot "$root" sh -c 'for folder in /run/condor /run/lock/condor /var/log/condor; do mkdir -p $folder; chown condor:condor $folder; done'
setsid chroot "$root" condor_master -f >/dev/null 2>&1 </dev/null &
echo $! >"$root/run/condor_master.outer.pid"
for _ in $(seq 200); do
    [ -n "$(chroot "$root" condor_status -af Name 2>/dev/null)" ] && chroot "$root" condor_q >/dev/null 2>&1 && exit 0
    sleep 0.2
done
echo "HTCondor did not come up" >&2
tail -n 20 "$root"/var/log/condor/*Log >&2
exit 1
