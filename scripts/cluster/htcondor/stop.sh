#!/usr/bin/env bash
# Ends the HTCondor that start.sh started, with its jobs, and leaves the installed files for the next time.
#   stop.sh ROOT SHARED
root=$1 shared=$2
lives() { [ -d "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }
file=$root/run/condor_master.outer.pid
if [ -s "$file" ]; then
    chroot "$root" condor_rm -all >/dev/null 2>&1
    pid=$(cat "$file")
    kill -QUIT "$pid" 2>/dev/null
    for _ in $(seq 150); do lives "$pid" || break; sleep 0.1; done
    lives "$pid" && kill -9 "$pid"
    rm -f "$file"
fi
rm -rf "$root"/var/spool/condor/[0-9]* "$root"/var/spool/condor/job_queue* "$root"/var/spool/condor/history*
for place in "$root$shared" "$root/dev" "$root/proc" "$root"; do
    for _ in $(seq 20); do mountpoint -q "$place" || break; umount "$place" 2>/dev/null || sleep 0.2; done
done
exit 0
