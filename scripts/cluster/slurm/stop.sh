#!/usr/bin/env bash
# Ends the Slurm that start.sh started in BASE, with the jobs in it, and removes the folder.
#   stop.sh BASE
base=$1
export SLURM_CONF=$base/slurm.conf
# What init has not yet reaped is gone.
lives() { [ -d "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }
if [ -s "$base/slurmctld.pid" ] && lives "$(cat "$base/slurmctld.pid")"; then
    timeout 10 scancel -Q -u "$(id -un)" 2>/dev/null
    for _ in $(seq 50); do [ -z "$(timeout 5 squeue -h -t R,CG 2>/dev/null)" ] && break; sleep 0.1; done
fi
for file in "$base"/slurmd.*.pid "$base"/slurmctld.pid "$base"/munged.pid; do
    [ -s "$file" ] || continue
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 100); do lives "$pid" || break; sleep 0.1; done
    lives "$pid" && kill -9 "$pid"
done
rm -rf "$base"
