"""Starts the workers of a fuzz run, watches them, and counts: see `run` beside this file."""
import collections
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

CHUNK = 2000
LONGEST = 20
AGAIN = 1000

test, place, cases, seed, seconds = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:6])
workers = int(os.environ.get("WORKERS", os.cpu_count()))
program = Path("target/release/lumisift").resolve()
end = time.time() + seconds if seconds else None
counts, failures = collections.Counter(), []


def worker(first, last):
    job = f"{place} {seed} {first} {last}"
    command = ["bash", "-c", 'ulimit -v 3000000; exec "$0" --ignored --exact fuzz::worker', test]
    log = open(place / f"log-{first}", "wb")
    process = subprocess.Popen(command, env=os.environ | {"LUMISIFT_FUZZ": job}, stdout=subprocess.DEVNULL, stderr=log)
    return process, first, last


def take(process, name):
    path = place / f"{name}-{process.pid}"
    text = path.read_text() if path.exists() else ""
    path.unlink(missing_ok=True)
    return text


def failed(line):
    failures.append(line)
    print("FAILURE", line, flush=True)


def again(number):
    """One case by the program itself."""
    job = f"{place} {seed} {number}"
    shown = subprocess.run([test, "--ignored", "--exact", "fuzz::show", "--nocapture"], env=os.environ | {"LUMISIFT_FUZZ": job}, capture_output=True, text=True)
    command = next(line.partition("COMMAND ")[2] for line in shown.stdout.splitlines() if "COMMAND " in line)
    shell = f"ulimit -v 3000000; exec {program} {command} -q"
    try:
        run = subprocess.run(["bash", "-c", shell], capture_output=True, timeout=LONGEST + 5)
    except subprocess.TimeoutExpired:
        return failed(f"{number}: the program took too long: {command}")
    if run.returncode not in (0, 1, 2) or b"this is a bug" in run.stderr:
        failed(f"{number}: the program ended with {run.returncode}: {command}")
    counts["program", str(run.returncode)] += 1
    subprocess.run(["rm", "-rf", str(place / f"case-{number}")])


following, running = 0, []
begin = time.time()
while running or following < cases and not (end and time.time() > end):
    while len(running) < workers and following < cases and not (end and time.time() > end):
        last = min(following + CHUNK, cases)
        running.append((*worker(following, last), [None, time.time()]))
        following = last
    time.sleep(0.2)
    for entry in list(running):
        process, first, last, seen = entry
        path = place / f"progress-{process.pid}"
        try:
            now = path.read_text()
        except FileNotFoundError:
            now = None
        if now != seen[0]:
            seen[:] = [now, time.time()]
        if process.poll() is None and time.time() - seen[1] > LONGEST + 10:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        if process.poll() is None:
            continue
        running.remove(entry)
        for line in take(process, "counts").splitlines():
            name, code, count = line.split("\t")
            counts[name, code] += int(count)
        for line in take(process, "failures").splitlines():
            failed(line)
        at = take(process, "progress")
        if process.returncode != 0:
            said = (place / f"log-{first}").read_text(errors="replace").strip().splitlines()
            failed(f"{at or first}: ended its process with {process.returncode}: {said[-1] if said else ''}")
            if at and int(at) + 1 < last:
                # What was counted before is lost with the process; the rest goes on behind the case.
                counts["(lost with a process)", ""] += int(at) - first
                running.append((*worker(int(at) + 1, last), [None, time.time()]))
        (place / f"log-{first}").unlink(missing_ok=True)
        subprocess.run(["rm", "-rf", str(place / f"case-{process.pid}")])
        again(first + AGAIN // 2)
        done = sum(counts.values())
        print(f"{done} cases, {done / (time.time() - begin):.0f} a second, {len(failures)} failures", flush=True)

print("\ncases by verb and file, by exit code")
names = sorted({name for name, _ in counts})
for name in names:
    codes = {code: count for (other, code), count in counts.items() if other == name}
    print(f"  {name:32} {sum(codes.values()):8}   " + "  ".join(f"{code}: {codes[code]}" for code in sorted(codes)))
inside = sum(count for (name, _), count in counts.items() if name != "program")
print(f"{inside} cases inside workers, {sum(counts.values()) - inside} by the program itself, {len(failures)} failures")
print("\n".join(failures))
sys.exit(bool(failures))
