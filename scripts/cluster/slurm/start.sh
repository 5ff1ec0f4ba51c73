#!/usr/bin/env bash
# Starts a Slurm on this machine, on loopback, in a folder of its own. Needs root; installs Debian's packages where they lack.
#   start.sh BASE [PORT [MAX_ARRAY]]     three ports from PORT on; prints the SLURM_CONF to export
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
base=$1 port=${2:-16817} max_array=${3:-1001}
export DEBIAN_FRONTEND=noninteractive
have() { command -v slurmctld && command -v slurmd && command -v sbatch && command -v munged; }
(
    flock 9
    have >/dev/null || {
        # Another may be installing something else.
        for _ in 1 2 3; do apt-get update -qq && break; sleep 10; done
        apt-get install -y -qq -o DPkg::Lock::Timeout=300 --no-install-recommends slurmctld slurmd slurm-client munge >&2
    }
) 9>/tmp/lumisift-apt.lock
mkdir -p "$base/state"
chmod 755 "$base"
for file in slurm.conf gres.conf; do
    sed -e "s|@BASE@|$base|g" -e "s|@HOST@|$(hostname -s)|g" -e "s|@MAX_ARRAY@|$max_array|g" \
        -e "s|@PORT0@|$port|g" -e "s|@PORT1@|$((port + 1))|g" -e "s|@PORT2@|$((port + 2))|g" "$here/$file.in" >"$base/$file"
done
# Newer ones want to be told that there are no cgroups, older ones do not know the word.
case $(slurmd -V) in *" 22."* | *" 23.02"*) ;; *) echo CgroupPlugin=disabled >"$base/cgroup.conf" ;; esac
# Stand-ins for GPUs: devices like /dev/null whose names end in a number.
for i in 0 1 2 3; do [ -e "$base/gpu$i" ] || mknod "$base/gpu$i" c 1 3; done
# A munge of its own.
[ -s "$base/munge.key" ] || (umask 077 && head -c 128 /dev/urandom >"$base/munge.key")
munged --key-file "$base/munge.key" --socket "$base/munge.socket" --pid-file "$base/munged.pid" --log-file "$base/munged.log" \
    --seed-file "$base/munged.seed" --num-threads 2
export SLURM_CONF=$base/slurm.conf
slurmctld -c
for node in n1 n2; do slurmd -c -N "$node"; done
for _ in $(seq 150); do
    if [ "$(sinfo -h -N -o %T 2>/dev/null | sort -u)" = idle ]; then
        echo "export SLURM_CONF=$SLURM_CONF"
        exit 0
    fi
    sleep 0.2
done
echo "Slurm did not come up" >&2
tail -n 20 "$base"/*.log >&2
exit 1
